/** The user that a program runs as, looked up in the root that a guest sees: what `User` of an image's configuration means. */
import { MayflyError } from '@mayfly/protocol';
import type { ImageRoot } from './image-root.js';

/** Who a program is in its guest. */
export interface GuestUser {
  uid: number;
  gid: number;
  /** Supplementary groups, his own among them, as container runtimes have it. */
  groups: number[];
  /** What HOME is, unless somebody says otherwise. */
  home: string;
}

interface Account {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

interface Group {
  name: string;
  gid: number;
  members: string[];
}

const ID_MAX = 2 ** 31 - 1;
/** As many as a guest kernel keeps. */
const GROUPS_MAX = 256;
const FILE_BYTES_MAX = 1 << 20;

/** What firmware/fs/etc.c puts where the images have no such file. */
const PASSWD_DEFAULT = 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:\n';
const GROUP_DEFAULT = 'root:x:0:\nnogroup:x:65534:\n';

/**
 * `UID`, `NAME`, `UID:GID`, `NAME:GROUP` and what lies between, by /etc/passwd and /etc/group of the root. A number needs no entry
 * there. The user's further groups count where no group is named.
 * Throws MAYFLY_USER_UNKNOWN.
 */
export function findUser(root: ImageRoot, text: string): GuestUser {
  const [userText = '', groupText = ''] = splitOnce(text);
  const account = findAccount(parseAccounts(fileOf(root, '/etc/passwd', PASSWD_DEFAULT)), userText);
  const all = parseGroups(fileOf(root, '/etc/group', GROUP_DEFAULT));
  const { uid, home } = account;
  const gid = groupText === '' ? account.gid : findGroup(all, groupText);
  const further = all.filter((g) => account.name !== '' && g.members.includes(account.name));
  const groups = groupText === '' ? [gid, ...further.map((g) => g.gid)] : [gid];
  return { uid, gid, groups: [...new Set(groups)].slice(0, GROUPS_MAX), home };
}

function splitOnce(text: string): string[] {
  const colon = text.indexOf(':');
  return colon < 0 ? [text] : [text.slice(0, colon), text.slice(colon + 1)];
}

/** Of no user: root. */
function findAccount(accounts: readonly Account[], text: string): Account {
  const wanted = text === '' ? '0' : text;
  const byName = accounts.find((a) => a.name === wanted);
  const uid = idOf(wanted);
  const found = byName ?? accounts.find((a) => a.uid === uid);
  if (found !== undefined) return found;
  if (uid === undefined) throw unknown('user', text, '/etc/passwd');
  return { name: '', uid, gid: 0, home: '/' };
}

function findGroup(groups: readonly Group[], text: string): number {
  const gid = groups.find((g) => g.name === text)?.gid ?? idOf(text);
  if (gid === undefined) throw unknown('group', text, '/etc/group');
  return gid;
}

function unknown(what: string, name: string, file: string): MayflyError {
  const message = `there is no ${what} ${name} in the guest: its ${file} does not name it; a number needs no entry there`;
  return new MayflyError('MAYFLY_USER_UNKNOWN', message);
}

function idOf(text: string): number | undefined {
  const id = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  return id <= ID_MAX ? id : undefined;
}

function fileOf(root: ImageRoot, path: string, otherwise: string): string {
  const found = root.find(path);
  if (found?.entry.type !== 'file' || found.entry.size === 0) return otherwise;
  return found.readStart(Math.min(found.entry.size, FILE_BYTES_MAX)).toString('utf8');
}

/** passwd(5); lines that make no sense are left out. */
function parseAccounts(text: string): Account[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , uidText = '', gidText = '', , home = ''] = line.split(':');
    const [uid, gid] = [idOf(uidText), idOf(gidText)];
    if (name === '' || uid === undefined || gid === undefined) return [];
    return [{ name, uid, gid, home: home === '' ? '/' : home }];
  });
}

/** group(5) */
function parseGroups(text: string): Group[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , gidText = '', members = ''] = line.split(':');
    const gid = idOf(gidText);
    return name === '' || gid === undefined
      ? []
      : [{ name, gid, members: members.split(',').map((m) => m.trim()) }];
  });
}
