/** The command line as a whole: commands, help, exit codes. */
import { VERSION } from '@mayfly/protocol';
import { Command, CommanderError } from 'commander';
import { addCheckpoint } from './commands/checkpoint.js';
import { addClone } from './commands/clone.js';
import { addCompletion } from './commands/completion.js';
import { addConformance } from './commands/conformance.js';
import { addDev } from './commands/dev.js';
import { addDoctor } from './commands/doctor.js';
import { addEnv } from './commands/env.js';
import { addFunctionCommands, addListAndRemove } from './commands/functions.js';
import { addHelpers } from './commands/helpers.js';
import { addImage } from './commands/image.js';
import { addLogs } from './commands/logs.js';
import { addRun } from './commands/run.js';
import { addServe } from './commands/serve.js';
import { addStatsCommands } from './commands/stats.js';
import { addInspect, addStatus } from './commands/status.js';
import { addVersionCommands } from './commands/versions.js';
import { type Io, printError } from './output.js';

const USAGE_ERROR = 2;

/**
 * Runs one command line.
 *
 * @param args without node and script
 * @returns the exit code: 0, what the command set, 1 for a failure, 2 for a command line that makes no sense
 */
export async function runCommandLine(args: string[], io: Io): Promise<number> {
  process.exitCode = 0;
  try {
    await buildProgram(io).parseAsync(args, { from: 'user' });
    return Number(process.exitCode);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE_ERROR;
    printError(io, error);
    return 1;
  }
}

function buildProgram(io: Io): Command {
  const program = new Command('mayfly')
    .description('Functions in microVMs that live for one request.')
    .version(VERSION)
    .enablePositionalOptions()
    .configureOutput({
      writeOut: io.stdout,
      writeErr: io.stderr,
      outputError: (text, write) => write(text.replace(/^error: /, 'mayfly: MAYFLY_USAGE: ')),
    })
    .showHelpAfterError('  `mayfly help` and `mayfly help COMMAND` say what is possible')
    .exitOverride()
    .addHelpText('after', EXAMPLE);
  addServe(program, io);
  addFunctionCommands(program, io);
  addVersionCommands(program, io);
  addEnv(program, io);
  addInspect(program, io);
  addDev(program, io);
  const fn = program.command('fn').description('The commands for functions under one name.');
  addListAndRemove(fn, io);
  addVersionCommands(fn, io);
  addEnv(fn, io);
  addInspect(fn, io);
  addStatus(program, io);
  addLogs(program, io);
  addStatsCommands(program, io);
  addRun(program, io);
  addImage(program, io);
  addHelpers(program, io);
  addCheckpoint(program, io);
  addClone(program, io);
  addConformance(program, io);
  addDoctor(program, io);
  addCompletion(program, io);
  return program;
}

const EXAMPLE = `
Example:
  mayfly serve &
  mayfly deploy hello guest-agent/examples/hello.mjs
  mayfly invoke hello --data '{"query":{"name":"you"}}'
  curl 'http://127.0.0.1:7070/fn/hello?name=you'

Exit codes: 0; 1 for a failure, whose code and what to do about it are on stderr; 2 for a command
line that makes no sense. run and clone give those of the program: see their help.
`;
