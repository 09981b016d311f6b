#!/usr/bin/env node
// Checks that the repository's Markdown speaks of what is there: relative links, and in docs/ also every `folder/file`
// in backticks that starts with a folder of ours (built files excepted).
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ROOT } from './workspace.mjs';

const LINK = /\]\(([^)\s]+)\)/g;
const PATH = /`((?:api|bench|docs|firmware|guest-agent|packages|vmm|\.ci)\/[\w./-]*)`/g;
const BUILT = /\/(build|dist|NAME)(\/|$)/;
const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '*.md'], {
  cwd: ROOT,
  encoding: 'utf8',
});

/** The link targets of a Markdown file that name nothing. */
function brokenLinks(file) {
  return [...readFileSync(join(ROOT, file), 'utf8').matchAll(LINK)]
    .map((match) => match[1].split('#')[0])
    .filter((target) => target !== '' && !/^[a-z]+:/.test(target))
    .filter((target) => !existsSync(join(ROOT, dirname(file), target)));
}

/** The paths that a document names, from the root of the repository, where nothing is. */
function missingPaths(file) {
  if (!file.startsWith('docs/')) return [];
  return [...readFileSync(join(ROOT, file), 'utf8').matchAll(PATH)]
    .map((match) => match[1])
    .filter((path) => !BUILT.test(path) && !existsSync(join(ROOT, path)));
}

const files = listed.split('\n').filter((file) => file !== '' && existsSync(join(ROOT, file)));
const broken = files.flatMap((file) =>
  [...brokenLinks(file), ...missingPaths(file)].map((target) => `${file}: ${target}`),
);
for (const line of broken) console.log(line);
process.exitCode = broken.length === 0 ? 0 : 1;
