/** Functions: what is deployed, and what is known about it. */
import { Type } from '@mayfly/schema';
import type { ErrorBody } from './errors.js';
import { FILES_MAX } from './limits.js';
import { CLOSED, FunctionName, time, Variables, Version, words } from './types.js';

const MIB = 1024 * 1024;

export const Runtime = words(
  ['node', 'python', 'native', 'http', 'wasm'],
  'what runs the function',
);
export type Runtime = Type.Static<typeof Runtime>;

const port = Type.Integer({ minimum: 1, maximum: 65_535 });

export const NetworkPolicy = Type.Object(
  {
    allow: Type.Array(Type.String({ minLength: 1, maxLength: 512 }), {
      maxItems: 256,
      description: 'rules: example.com:443, *.example.com, 10.0.0.0/8:80,443, host.mayfly:5432',
    }),
  },
  { ...CLOSED, description: 'what the function may connect to; nothing, if left out' },
);
export type NetworkPolicy = Type.Static<typeof NetworkPolicy>;

const WarmUpPath = Type.String({ pattern: '^/[!-~]*$', maxLength: 2048 });

const WarmUpRequest = Type.Object(
  {
    method: Type.Optional(
      Type.String({ pattern: '^[A-Z]{1,32}$', description: 'GET, or POST if there is a body' }),
    ),
    path: Type.Optional(WarmUpPath),
    headers: Type.Optional(
      Type.Record(
        Type.String({ pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$" }),
        Type.String({ pattern: '^[\\t -~]*$', maxLength: 8192 }),
        { ...CLOSED, maxProperties: 64 },
      ),
    ),
    body: Type.Optional(
      Type.Unknown({ description: 'text; any other value is sent as JSON, with its content type' }),
    ),
  },
  { ...CLOSED, description: 'a request' },
);

const WarmUpEvent = Type.Object(
  { event: Type.Unknown() },
  { ...CLOSED, description: 'an event, as POST /v1/functions/{name}/invocations gets it' },
);

const WarmUp = Type.Union([WarmUpPath, WarmUpRequest, WarmUpEvent]);
export type WarmUp = Type.Static<typeof WarmUp>;

/** Everything about a function but its code. Fields that are left out get their defaults. */
const settings = {
  runtime: Type.Optional(Runtime),
  entry: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 1024,
      description: 'the file to start with, relative to the files; the runtime has a default',
    }),
  ),
  command: Type.Optional(
    Type.Array(Type.String({ maxLength: 4096 }), {
      minItems: 1,
      maxItems: 256,
      description: 'program and arguments, for native and http',
    }),
  ),
  port: Type.Optional(
    Type.Integer({ ...port, description: 'where the program listens, for http' }),
  ),
  memoryBytes: Type.Optional(
    Type.Integer({ minimum: 64 * MIB, maximum: 4096 * MIB, description: 'guest memory' }),
  ),
  timeoutMs: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 900_000,
      description: 'longest an invocation may take, queueing included',
    }),
  ),
  cpuMs: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 900_000,
      description: 'processor time that an invocation may use',
    }),
  ),
  env: Type.Optional(Variables),
  minClones: Type.Optional(
    Type.Integer({ minimum: 0, maximum: 1000, description: 'clones that always wait, ready' }),
  ),
  maxClones: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 1000, description: 'invocations that run at once' }),
  ),
  queueMax: Type.Optional(
    Type.Integer({ minimum: 0, maximum: 100_000, description: 'invocations that may wait' }),
  ),
  idleSeconds: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 86_400,
      description: 'without an invocation for so long, the function is scaled to zero',
    }),
  ),
  network: Type.Optional(NetworkPolicy),
  warmup: Type.Optional(
    Type.Union([Type.Boolean(), WarmUp, Type.Array(WarmUp, { minItems: 1, maxItems: 16 })], {
      description:
        'call the function before its template is made: with a GET of this path, or of / if true, with this request or event, or with each of these',
    }),
  ),
};

const Settings = Type.Object(settings, CLOSED);
export type FunctionSettings = Type.Static<typeof Settings>;

/** mayfly.json at the root of a folder or an archive. */
export const FunctionManifest = Type.Object(
  {
    ...settings,
    bundle: Type.Optional(
      Type.Boolean({
        description:
          'for http, read by `mayfly deploy`: false sends a server for Node.js as it is, with its node_modules',
      }),
    ),
  },
  CLOSED,
);
export type FunctionManifest = Type.Static<typeof FunctionManifest>;

const BinaryFile = Type.Object(
  {
    base64: Type.String({ pattern: '^[A-Za-z0-9+/]*={0,2}$' }),
    executable: Type.Optional(Type.Boolean()),
  },
  CLOSED,
);

export const FunctionFiles = Type.Record(
  Type.String({ minLength: 1, maxLength: 1024 }),
  Type.Union([Type.String(), BinaryFile]),
  { maxProperties: FILES_MAX, description: 'text or base64, by relative paths' },
);
export type FunctionFiles = Type.Static<typeof FunctionFiles>;

const EXAMPLE =
  'export const handler = (event) => ({ hello: event.name, color: process.env.COLOR });';

/** Body of a deployment: `source` (one file of text) or `files`, not both. */
export const FunctionSource = Type.Object(
  {
    source: Type.Optional(Type.String({ minLength: 1, description: 'the text of the one file' })),
    files: Type.Optional(FunctionFiles),
    ...settings,
  },
  { ...CLOSED, examples: [{ source: EXAMPLE, timeoutMs: 5000, env: { COLOR: 'red' } }] },
);
export type FunctionSource = Type.Static<typeof FunctionSource>;

const described = {
  sourceDigest: Type.String({ description: 'SHA-256 of what was deployed, hex' }),
  runtime: Runtime,
  entry: settings.entry,
  command: settings.command,
  port: settings.port,
  memoryBytes: Type.Integer(),
  timeoutMs: Type.Integer(),
  cpuMs: settings.cpuMs,
  minClones: settings.minClones,
  maxClones: settings.maxClones,
  queueMax: settings.queueMax,
  idleSeconds: settings.idleSeconds,
  network: settings.network,
  warmup: settings.warmup,
  env: Variables,
  deployedAt: time('when this version was deployed'),
};

/** One version; it never changes. */
export const VersionInfo = Type.Object(
  {
    version: Version,
    current: Type.Boolean({ description: 'the one that name without @version means' }),
    ...described,
  },
  CLOSED,
);
export type VersionInfo = Type.Static<typeof VersionInfo>;

/** A function, with the settings of its current version. */
export const FunctionInfo = Type.Object(
  {
    name: FunctionName,
    version: Version,
    ...described,
    state: words(
      ['stored', 'deploying', 'ready'],
      'stored: the template is made, or opened, on the first invocation',
    ),
    exports: Type.Optional(
      Type.String({ description: 'how it is called: fetch or handler, for example' }),
    ),
    bootMicros: Type.Optional(Type.Number({ minimum: 0, description: 'what the template took' })),
  },
  CLOSED,
);
export type FunctionInfo = Type.Static<typeof FunctionInfo>;

export const FunctionList = Type.Object({ functions: Type.Array(FunctionInfo) }, CLOSED);
export type FunctionList = Type.Static<typeof FunctionList>;

/** Newest first. */
export const VersionList = Type.Object({ versions: Type.Array(VersionInfo) }, CLOSED);
export type VersionList = Type.Static<typeof VersionList>;

export const Rollback = Type.Object(
  {
    version: Type.Optional(
      Type.Integer({ ...Version, description: 'the one before the current one, if left out' }),
    ),
  },
  CLOSED,
);
export type Rollback = Type.Static<typeof Rollback>;

/** A step of a deployment begins. */
export const DeploymentStep = Type.Object(
  {
    step: Type.Enum(['image', 'boot', 'store'], {
      description:
        'the source becomes an image, the image a machine that is ready, the version is written to disk',
    }),
    ms: Type.Number({ description: 'since the deployment was taken' }),
    imageBytes: Type.Optional(Type.Number({ description: 'of all images that are booted' })),
  },
  CLOSED,
);
export type DeploymentStep = Type.Static<typeof DeploymentStep>;

/** A line of a deployment that tells of its progress; the last one has the function or the error. */
export type DeploymentLine =
  | DeploymentStep
  | { function: FunctionInfo }
  | { error: ErrorBody; status: number };
