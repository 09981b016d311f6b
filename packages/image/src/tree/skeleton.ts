import { type Entry, PLAIN_DIR, type Tree } from './tree.js';

const DIRS: [path: string, mode: number][] = [
  ['/dev', 0o755],
  ['/etc', 0o755],
  ['/etc/ssl', 0o755],
  ['/proc', 0o555],
  ['/root', 0o700],
  ['/run', 0o755],
  ['/sys', 0o555],
  ['/tmp', 0o1777],
  ['/usr', 0o755],
  ['/var', 0o755],
  ['/var/tmp', 0o1777],
];

const FILES: [path: string, content: string][] = [
  [
    '/etc/passwd',
    'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n',
  ],
  ['/etc/group', 'root:x:0:\nnogroup:x:65534:\n'],
  ['/etc/hosts', '127.0.0.1 localhost\n::1 localhost\n'],
  [
    '/etc/nsswitch.conf',
    'passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n',
  ],
];

/** Adds what every Linux program may expect of a root; what the tree has already stays. */
export function addSkeleton(tree: Tree): void {
  for (const [path, mode] of DIRS) addResolved(tree, { path, ...PLAIN_DIR, mode });
  for (const [path, content] of FILES) {
    const source = { kind: 'bytes', bytes: Buffer.from(content) } as const;
    addResolved(tree, { path, ...PLAIN_DIR, mode: 0o644, type: 'file', source });
  }
}

function addResolved(tree: Tree, entry: Entry): void {
  tree.addMissing({ ...entry, path: tree.resolveParents(entry.path) });
}
