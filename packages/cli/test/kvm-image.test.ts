/** `mayfly image`, images of `mayfly run`, and what both say of mistakes. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { dir, file, mayfly, run, skip } from './support/command.js';

t.test('images: built, listed, run, inspected, removed', { skip }, (t) => {
  const root = join(dir, 'root');
  mkdirSync(join(root, 'bin'), { recursive: true });
  mkdirSync(join(root, 'data'));
  writeFileSync(join(root, 'bin/busybox'), readFileSync('/usr/bin/busybox'), { mode: 0o755 });
  symlinkSync('busybox', join(root, 'bin/sh'));
  writeFileSync(join(root, 'data/f'), 'in the image\n');
  writeFileSync(join(root, 'bin/hello'), '#!/bin/sh\necho "hello $1"\n', { mode: 0o755 });
  spawnSync('tar', ['-C', root, '-czf', join(dir, 'root.tar.gz'), '.']);
  spawnSync('mkfs.erofs', ['--quiet', '--chunksize=4096', join(dir, 'root.erofs'), root]);
  t.match(mayfly(['image', 'build', 'box', 'root.tar.gz']), { status: 0, stdout: /^built box: / });
  const [image] = JSON.parse(mayfly(['image', 'ls', '--json']).stdout).images;
  t.match(image, { name: 'box', source: 'root.tar.gz', layers: [{ files: 7 }] });
  const digest: string = image.layers[0].digest;
  for (const reference of ['box', digest.slice(0, 10), './root', './root.tar.gz', './root.erofs']) {
    t.match(run('--image', reference, '--', 'hello', 'you'), { status: 0, stdout: 'hello you\n' });
    t.match(run('--image', reference, '--', 'busybox', 'cat', '/data/f'), {
      stdout: 'in the image\n',
    });
  }
  t.match(run('--image', 'box'), { status: 2, stderr: /MAYFLY_IMAGE_NO_ENTRY/ });
  t.match(run('--image', 'box', '--', 'nothing'), {
    status: 127,
    stderr: /MAYFLY_PROGRAM_UNKNOWN/,
  });
  t.match(run('--image', 'box', '--', '/data/f'), {
    status: 126,
    stderr: /MAYFLY_PROGRAM_NOT_EXECUTABLE/,
  });
  t.match(run('--image', 'other', '--', 'x'), { status: 2, stderr: /MAYFLY_IMAGE_NO_IMAGE/ });
  t.match(mayfly(['image', 'inspect', 'box']), { status: 0, stdout: new RegExp(digest) });
  t.match(mayfly(['image', 'rm', digest]), { status: 1, stderr: /MAYFLY_IMAGE_IN_USE.* box/ });
  t.match(mayfly(['image', 'rm', 'box', '--json']), { status: 0, stdout: new RegExp(digest) });
  t.match(mayfly(['image', 'rm', 'box']), { status: 1, stderr: /MAYFLY_IMAGE_NO_IMAGE/ });
  t.match(mayfly(['image', 'rm', '--unnamed']), { status: 0 });
  t.end();
});

t.test("an image's entry point, environment and folder", { skip }, (t) => {
  t.match(mayfly(['image', 'build', 'tools', '--program', 'env', '--program', 'sh']), {
    status: 0,
  });
  t.match(run('--image', 'tools', '--env', 'A=1'), { status: 0, stdout: /^A=1$/m });
  t.match(run('--image', 'tools', '--', 'sh', '-c', 'echo $0'), { stdout: 'sh\n' });
  t.end();
});

/** An archive as `docker save` writes it, of a folder. */
function dockerArchive(name: string, root: string, config: object): string {
  const folder = join(dir, `${name}-archive`);
  mkdirSync(folder);
  const layer = join(folder, 'layer.tar');
  spawnSync('tar', ['-C', root, '--owner=0', '--group=0', '-cf', layer, '.']);
  const sha256 = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex');
  const text = JSON.stringify({
    ...{ os: 'linux', architecture: 'amd64', config },
    rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(readFileSync(layer))}`] },
  });
  const Config = `${sha256(text)}.json`;
  writeFileSync(join(folder, Config), text);
  const manifest = [{ Config, RepoTags: [`${name}:latest`], Layers: ['layer.tar'] }];
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest));
  spawnSync('tar', ['-C', folder, '-cf', join(dir, `${name}.tar`), '.']);
  return `./${name}.tar`;
}

t.test('the user of an image and of --user', { skip }, (t) => {
  const root = join(dir, 'user-root');
  for (const folder of ['bin', 'etc', 'srv']) mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, 'bin/busybox'), readFileSync('/usr/bin/busybox'), { mode: 0o755 });
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/root:\napp:x:1000:1001::/srv/app:\n');
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\napps:x:1001:\nstaff:x:50:app\n');
  writeFileSync(join(root, 'srv/secret'), 'secret\n', { mode: 0o600 });
  const image = dockerArchive('users', root, { User: 'app', Cmd: ['/bin/busybox', 'id'] });
  const id = (...options: string[]) => run('--image', image, ...options);
  t.match(id(), {
    status: 0,
    stdout: 'uid=1000(app) gid=1001(apps) groups=1001(apps),50(staff)\n',
  });
  t.match(id('--user', 'root'), { stdout: /^uid=0\(root\) gid=0\(root\)/ });
  t.match(id('--user', '4711:staff'), { stdout: 'uid=4711 gid=50(staff) groups=50(staff)\n' });
  const sh = (script: string, ...options: string[]) =>
    run('--image', image, ...options, '--', '/bin/busybox', 'sh', '-c', script);
  t.match(sh('echo $HOME; cd /srv; read x < secret'), {
    status: 1,
    stdout: '/srv/app\n',
    stderr: /secret: Permission denied/,
  });
  t.match(sh('read x < /srv/secret; echo $x', '--user', '0'), { stdout: 'secret\n' });
  t.match(sh('echo > /new'), { stderr: /can't create \/new: Permission denied/ });
  t.match(sh('echo 1 > /tmp/new; echo out > /dev/stdout'), { status: 0, stdout: 'out\n' });
  const mine = ['--dir', `${join(dir, 'user-root/srv')}:/work`, '--cwd', '/work'];
  t.match(sh('read x < secret; echo $x > new; echo done', ...mine), { stdout: 'done\n' });
  t.match(id('--user', 'nosuch'), {
    status: 126,
    stderr: /^mayfly: MAYFLY_USER_UNKNOWN: there is no user nosuch .*\n$/,
  });
  t.match(id('--user', ''), { status: 2, stderr: /USER:GROUP/ });
  t.match(run('--user', '1000', '--', '/usr/bin/busybox', 'id', '-u'), { stdout: '1000\n' });
  t.end();
});

t.test('two images: the upper one hides what it marks', { skip }, (t) => {
  const [lower, upper] = [join(dir, 'lower'), join(dir, 'upper')];
  for (const [path, content] of [
    ['lower/etc/gone', '1'],
    ['lower/etc/kept', '2'],
    ['lower/old/below', '3'],
    ['upper/old/above', '4'],
  ] as const) {
    mkdirSync(join(dir, path, '..'), { recursive: true });
    writeFileSync(join(dir, path), content);
  }
  mkdirSync(join(upper, 'etc'));
  if (spawnSync('mknod', [join(upper, 'etc/gone'), 'c', '0', '0']).status !== 0) {
    t.comment('no device files can be made here');
    return t.end();
  }
  mkdirSync(join(lower, 'bin'));
  writeFileSync(join(lower, 'bin/busybox'), readFileSync('/usr/bin/busybox'), { mode: 0o755 });
  const marked = spawnSync('setfattr', [
    '-n',
    'user.overlay.opaque',
    '-v',
    'y',
    join(upper, 'old'),
  ]);
  spawnSync('mkfs.erofs', ['--quiet', join(dir, 'upper.erofs'), upper]);
  const list = run(
    '--image',
    './lower',
    '--image',
    './upper.erofs',
    '--',
    'busybox',
    'find',
    '/etc',
    '/old',
  );
  const seen = list.stdout.trim().split('\n').sort();
  const below = marked.status === 0 ? [] : ['/old/below'];
  const own = ['group', 'hosts', 'machine-id', 'passwd', 'resolv.conf']; // each machine has them
  const etc = ['kept', ...own].sort().map((name) => `/etc/${name}`);
  t.same(seen, ['/etc', ...etc, '/old', '/old/above', ...below], list.stderr);
  const hosts = run('--image', './lower', '--', 'busybox', 'grep', '-c', 'localhost', '/etc/hosts');
  t.equal(hosts.stdout, '2\n', 'what programs take for granted is made where the image has none');
  t.end();
});

t.test('mistakes: one line, a code, an exit status', { skip }, (t) => {
  const busybox = readFileSync('/usr/bin/busybox');
  const arm = Buffer.from(busybox);
  arm.writeUInt16LE(183, 18);
  const dynamic = readFileSync('/usr/bin/env');
  const broken = (from: string, to: string) => {
    const copy = Buffer.from(dynamic);
    copy.write(to, copy.indexOf(from));
    return copy;
  };
  spawnSync('mkfs.erofs', ['--quiet', join(dir, 'whole.erofs'), join(dir, 'lower')]);
  const damaged = file('damaged.erofs', readFileSync(join(dir, 'whole.erofs')));
  truncateSync(damaged, 4096);
  for (const [args, status, code] of [
    [[file('text', 'no program', 0o755)], 126, 'MAYFLY_ELF_NOT_ELF'],
    [[file('arm', arm, 0o755)], 126, 'MAYFLY_ELF_WRONG_ARCH'],
    [[file('cut', busybox.subarray(0, 100), 0o755)], 126, 'MAYFLY_ELF_DAMAGED'],
    [
      [file('no-loader', broken('/lib64/ld-', '/lib65/ld-'), 0o755)],
      127,
      'MAYFLY_ELF_NO_INTERPRETER',
    ],
    [[file('no-library', broken('libc.so.6', 'libd.so.6'), 0o755)], 127, 'MAYFLY_ELF_NO_LIBRARY'],
    [[file('lost.sh', '#!/no/such\n', 0o755)], 127, 'MAYFLY_ELF_NO_INTERPRETER'],
    [[file('plain', 'x')], 126, 'MAYFLY_PROGRAM_NOT_EXECUTABLE'],
    [['no-such-program'], 127, 'MAYFLY_PROGRAM_UNKNOWN'],
    [['--image', damaged, '--', 'x'], 125, 'MAYFLY_IMAGE_DAMAGED'],
    [
      ['--image', file('bad.tar', 'x'.repeat(2000)), '--', 'x'],
      125,
      'MAYFLY_IMAGE_ARCHIVE_DAMAGED',
    ],
    [['--memory', '1M', '--', 'true'], 2, 'MAYFLY_BAD_MEMORY_SIZE'],
    [['--memory', '1000000G', '--', 'true'], 2, 'MAYFLY_BAD_MEMORY_SIZE'],
    [['--memory', 'much', '--', 'true'], 2, 'MAYFLY_USAGE'],
    [['--dir', 'nowhere:/x', '--', 'true'], 2, 'MAYFLY_IMAGE_NO_FILE'],
    [['--dir', '.:relative', '--', 'true'], 2, 'MAYFLY_USAGE'],
    [['--unknown', '--', 'true'], 2, 'MAYFLY_USAGE'],
    [[], 2, 'MAYFLY_USAGE'],
  ] as [string[], number, string][]) {
    const outcome = run(...args);
    t.match(outcome, { status, stdout: '' }, args.join(' '));
    t.match(outcome.stderr.split('\n')[0], new RegExp(`^mayfly: ${code}: `));
  }
  for (const args of [['build', 'x'], ['build', 'x', 'y', '--program', 'z'], ['rm'], ['nope']])
    t.match(mayfly(['image', ...args]), { status: 2, stderr: /^mayfly: MAYFLY_USAGE: / });
  t.match(mayfly(['image', 'build', '../x', 'lower']), {
    status: 1,
    stderr: /MAYFLY_IMAGE_BAD_NAME/,
  });
  t.end();
});
