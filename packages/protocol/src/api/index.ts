/**
 * The bodies of Mayfly's HTTP API, as the server writes them and the client reads them: schemas, and the types that they
 * say. Apart from the rest of this package, so that what runs in a guest does not bring them along.
 *
 *   GET    /v1/functions                            FunctionList
 *   PUT    /v1/functions/{name}                     FunctionSource, an archive, or bare source → FunctionInfo
 *   GET    /v1/functions/{name}                     FunctionInfo
 *   DELETE /v1/functions/{name}                     204
 *   GET    /v1/functions/{name}/versions            VersionList
 *   POST   /v1/functions/{name}/rollback            Rollback → FunctionInfo
 *   GET    /v1/functions/{name}/env                 EnvironmentInfo
 *   PUT    /v1/functions/{name}/env                 Environment → EnvironmentInfo
 *   PATCH  /v1/functions/{name}/env                 EnvironmentPatch → EnvironmentInfo
 *   DELETE /v1/functions/{name}/env                 204
 *   GET    /v1/functions/{name}/logs                ?LogQuery → FunctionLogs, or LogEntry as ndjson
 *   POST   /v1/functions/{name}/invocations         ?InvokeQuery, any JSON → InvocationRecord; 202 with ?async=true
 *   GET    /v1/functions/{name}/invocations         ?limit → InvocationList
 *   GET    /v1/functions/{name}/stats               FunctionStats
 *   GET    /v1/invocations/{id}                     InvocationRecord
 *   GET    /v1/stats                                Stats
 *   GET    /healthz                                 Health
 *   GET    /readyz                                  Readiness, 503 while draining
 *   GET    /metrics                                 text for Prometheus
 *   GET    /openapi.json                            OpenAPI 3.1
 *   ANY    /fn/{name}[@version]/...                 whatever the function answers
 *
 * An archive is application/x-tar, plain or with content-encoding gzip (or application/gzip): FunctionManifest as mayfly.json at its root, and the
 * files. Every answer that is neither a success nor the function's own is an ErrorBody.
 */
export * from './environment.js';
export * from './errors.js';
export * from './functions.js';
export * from './invocations.js';
export * from './limits.js';
export * from './logs.js';
export * from './stats.js';
export { FunctionName, type Variables, Version } from './types.js';
