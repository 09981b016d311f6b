import type { Command } from 'commander';

/** Shows whole command lines at the end of a command's help. */
export function examples(command: Command, ...lines: string[]): Command {
  const text = lines.map((line) => `  ${line}\n`).join('');
  return command.addHelpText('after', `\nExamples:\n${text}`);
}
