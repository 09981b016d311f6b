/** mayfly completion: scripts that complete commands and options, made from the commands that there are. */
import { type Command, InvalidArgumentError } from 'commander';
import type { Io } from '../output.js';

/** What can follow a sequence of commands: 'fn' → ['ls', 'rm', '--help', ...]. */
interface Words {
  byPath: Map<string, { word: string; about: string }[]>;
  /** Sequences that names follow, with the command that prints them. */
  names: Map<string, string>;
}

const FUNCTIONS = 'mayfly ls --quiet';
const CHECKPOINTS = 'mayfly checkpoint ls --quiet';

const SHELLS = { bash, zsh, fish };
type Shell = keyof typeof SHELLS;

export function addCompletion(program: Command, io: Io): void {
  program
    .command('completion')
    .argument('<shell>', 'bash, zsh or fish', parseShell)
    .description('Print a completion script.')
    .addHelpText(
      'after',
      `
Examples:
  bash: mayfly completion bash > ~/.local/share/bash-completion/completions/mayfly
  zsh:  mayfly completion zsh > a folder of $fpath, as _mayfly
  fish: mayfly completion fish > ~/.config/fish/completions/mayfly.fish
`,
    )
    .action((shell: Shell) => io.stdout(SHELLS[shell](wordsOf(program))));
}

function parseShell(text: string): Shell {
  if (Object.hasOwn(SHELLS, text)) return text as Shell;
  throw new InvalidArgumentError('There are bash, zsh and fish.');
}

function wordsOf(
  command: Command,
  path: string[] = [],
  words: Words = { byPath: new Map(), names: new Map() },
): Words {
  const commands = command.commands.map((sub) => ({
    word: sub.name(),
    about: firstSentence(sub.description()),
  }));
  const options = command
    .createHelp()
    .visibleOptions(command)
    .flatMap(({ long, description }) => (long ? [{ word: long, about: description }] : []));
  words.byPath.set(path.join(' '), [...commands, ...options]);
  const lister = listerFor(command, (option) => options.some(({ word }) => word === option));
  if (lister !== undefined) words.names.set(path.join(' '), lister);
  for (const sub of command.commands) wordsOf(sub, [...path, sub.name()], words);
  return words;
}

/** What prints the names that can be its first argument, if that names something that there is. */
function listerFor(command: Command, has: (option: string) => boolean): string | undefined {
  const first = command.registeredArguments[0]?.name() ?? '';
  if (has('--url') && /^names?$/.test(first)) return FUNCTIONS;
  const isOfCheckpoint = /^(names?|from|checkpoint)$/.test(first) && command.name() !== 'create';
  return has('--store') && isOfCheckpoint ? CHECKPOINTS : undefined;
}

function firstSentence(text: string): string {
  return text.split(/[.;:]/, 1)[0] ?? '';
}

/** The commands on the line, without options, as far as there are such commands; then file names. */
function bash({ byPath, names }: Words): string {
  const cases = [...byPath].map(
    ([path, all]) =>
      `    ${quoted(path)}) words=${quoted(all.map(({ word }) => word).join(' '))} ;;`,
  );
  const named = [...new Set(names.values())].map((lister) => {
    const paths = [...names].filter(([, other]) => other === lister).map(([path]) => quoted(path));
    return `      ${paths.join(' | ')}) words="$words $(${lister} 2>/dev/null)" ;;`;
  });
  return `# bash completion for mayfly; written by \`mayfly completion bash\`.
_mayfly_words() {
  case "$1" in
${cases.join('\n')}
    *) return 1 ;;
  esac
}
_mayfly() {
  local path= words= word i
  _mayfly_words ''
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    [[ $word == -* ]] && continue
    _mayfly_words "\${path:+$path }$word" || break
    path="\${path:+$path }$word"
  done
  case "$path:\${COMP_WORDS[COMP_CWORD]}" in
    *:-*) ;;
    *) case "$path" in
${named.join('\n')}
    esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _mayfly mayfly
`;
}

/** zsh runs the script for bash. */
function zsh(words: Words): string {
  return `#compdef mayfly
autoload -U +X bashcompinit && bashcompinit
${bash(words)}`;
}

function fish({ byPath, names }: Words): string {
  const lines = [...byPath].flatMap(([path, all]) => {
    const seen = path.split(' ').map((word) => `__fish_seen_subcommand_from ${word}`);
    const condition = path === '' ? '__fish_use_subcommand' : seen.join('; and ');
    const complete = `complete -c mayfly -n ${quoted(condition)}`;
    const lines = all.map(({ word, about }) => {
      const what = word.startsWith('--') ? `-l ${word.slice(2)}` : `-f -a ${word}`;
      return `${complete} ${what} -d ${quoted(about)}`;
    });
    const lister = names.get(path);
    return lister ? [...lines, `${complete} -a '(${lister} 2>/dev/null)'`] : lines;
  });
  return `# fish completion for mayfly; written by \`mayfly completion fish\`.\n${lines.join('\n')}\n`;
}

function quoted(text: string): string {
  return `'${text.replace(/\n/g, ' ').replace(/'/g, "'\\''")}'`;
}
