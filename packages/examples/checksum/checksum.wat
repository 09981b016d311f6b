;; CRC-32 (IEEE 802.3, as in zip and PNG) of what comes on stdin, as eight hex digits and a newline on stdout.
;; A WASI command: it needs fd_read, fd_write and proc_exit.
;;
;; Memory, in bytes:
;;      0  one iovec {address, length}
;;      8  how many bytes were read or written
;;     16  the text of the answer
;;   1024  the table: 256 words
;;   4096  a buffer of 60 KiB
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (global $TABLE i32 (i32.const 1024))
  (global $BUFFER i32 (i32.const 4096))
  (global $BUFFER_BYTES i32 (i32.const 61440))

  ;; Entry n of the table: n, divided eight times by the reflected polynomial.
  (func $table_entry (param $n i32) (result i32)
    (local $bit i32)
    (loop $bits
      (local.set $n
        (i32.xor
          (i32.shr_u (local.get $n) (i32.const 1))
          (i32.and (i32.const 0xedb88320) (i32.sub (i32.const 0) (i32.and (local.get $n) (i32.const 1))))))
      (local.set $bit (i32.add (local.get $bit) (i32.const 1)))
      (br_if $bits (i32.lt_u (local.get $bit) (i32.const 8))))
    (local.get $n))

  (func $fill_table
    (local $n i32)
    (loop $entries
      (i32.store
        (i32.add (global.get $TABLE) (i32.shl (local.get $n) (i32.const 2)))
        (call $table_entry (local.get $n)))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $entries (i32.lt_u (local.get $n) (i32.const 256)))))

  ;; The checksum of everything before, taken further by the first $length bytes of the buffer.
  (func $update (param $crc i32) (param $length i32) (result i32)
    (local $at i32)
    (local $end i32)
    (local.set $at (global.get $BUFFER))
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (block $done
      (loop $bytes
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $crc
          (i32.xor
            (i32.shr_u (local.get $crc) (i32.const 8))
            (i32.load
              (i32.add
                (global.get $TABLE)
                (i32.shl
                  (i32.and (i32.xor (local.get $crc) (i32.load8_u (local.get $at))) (i32.const 0xff))
                  (i32.const 2))))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $bytes)))
    (local.get $crc))

  ;; Bytes of stdin that are in the buffer now; 0 at the end.
  (func $read (result i32)
    (i32.store (i32.const 0) (global.get $BUFFER))
    (i32.store (i32.const 4) (global.get $BUFFER_BYTES))
    (if (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))
      (then (call $proc_exit (i32.const 1))))
    (i32.load (i32.const 8)))

  (func $print (param $crc i32)
    (local $digit i32)
    (local $i i32)
    (loop $digits
      (local.set $digit (i32.shr_u (local.get $crc) (i32.const 28)))
      (local.set $crc (i32.shl (local.get $crc) (i32.const 4)))
      (i32.store8
        (i32.add (i32.const 16) (local.get $i))
        (i32.add
          (local.get $digit)
          (select (i32.const 87) (i32.const 48) (i32.gt_u (local.get $digit) (i32.const 9)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $digits (i32.lt_u (local.get $i) (i32.const 8))))
    (i32.store8 (i32.const 24) (i32.const 10))
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 9))
    (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))
      (then (call $proc_exit (i32.const 1)))))

  (func (export "_start")
    (local $crc i32)
    (local $length i32)
    (call $fill_table)
    (local.set $crc (i32.const -1))
    (block $end
      (loop $chunks
        (local.set $length (call $read))
        (br_if $end (i32.eqz (local.get $length)))
        (local.set $crc (call $update (local.get $crc) (local.get $length)))
        (br $chunks)))
    (call $print (i32.xor (local.get $crc) (i32.const -1)))))
