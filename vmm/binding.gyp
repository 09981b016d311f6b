{
  'targets': [
    {
      'target_name': 'mayfly_vmm',
      'sources': [
        'native/addon.c',
        'native/addon_memory.c',
        'native/addon_rewind.c',
        'native/addon_vcpu.c',
        'native/array_buffer.cc',
        'native/clock.c',
        'native/handle.c',
        'native/kvm.c',
        'native/memory.c',
        'native/napi_util.c',
        'native/pagemap.c',
        'native/rewind.c',
        'native/timer.c',
        'native/vcpu.c',
      ],
      'defines': ['_GNU_SOURCE', 'NAPI_VERSION=8'],
      'cflags': ['-O2', '-Wall', '-fvisibility=hidden'],
      # Not for C++: headers of V8 have warnings of their own.
      'cflags_c': ['-std=c17', '-Wextra', '-Werror', '-Wshadow', '-Wpointer-arith'],
      # Signal handlers and thread destructors point into the library: it stays when the last worker that used it ends.
      'ldflags': ['-Wl,-z,nodelete', '-Wl,-z,relro,-z,now'],
    },
  ],
}
