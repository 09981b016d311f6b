/** mayfly completion: scripts that complete commands and options, made from the commands that there are. */
import { type Command, InvalidArgumentError } from 'commander';
import type { Io } from '../output.js';

/** What can follow a sequence of commands: 'fn' → ['ls', 'rm', '--help', ...]. */
type Words = Map<string, { word: string; about: string }[]>;

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

function wordsOf(command: Command, path: string[] = [], words: Words = new Map()): Words {
  const commands = command.commands.map((sub) => ({
    word: sub.name(),
    about: firstSentence(sub.description()),
  }));
  const options = command
    .createHelp()
    .visibleOptions(command)
    .flatMap(({ long, description }) => (long ? [{ word: long, about: description }] : []));
  words.set(path.join(' '), [...commands, ...options]);
  for (const sub of command.commands) wordsOf(sub, [...path, sub.name()], words);
  return words;
}

function firstSentence(text: string): string {
  return text.split(/[.;:]/, 1)[0] ?? '';
}

/** The commands on the line, without options, as far as there are such commands; then file names. */
function bash(words: Words): string {
  const cases = [...words].map(
    ([path, all]) =>
      `    ${quoted(path)}) words=${quoted(all.map(({ word }) => word).join(' '))} ;;`,
  );
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

function fish(words: Words): string {
  const lines = [...words].flatMap(([path, all]) => {
    const [first, second] = path.split(' ');
    const condition = !first
      ? '__fish_use_subcommand'
      : `__fish_seen_subcommand_from ${first}${second ? `; and __fish_seen_subcommand_from ${second}` : ''}`;
    return all.map(({ word, about }) => {
      const what = word.startsWith('--') ? `-l ${word.slice(2)}` : `-f -a ${word}`;
      return `complete -c mayfly -n ${quoted(condition)} ${what} -d ${quoted(about)}`;
    });
  });
  return `# fish completion for mayfly; written by \`mayfly completion fish\`.\n${lines.join('\n')}\n`;
}

function quoted(text: string): string {
  return `'${text.replace(/\n/g, ' ').replace(/'/g, "'\\''")}'`;
}
