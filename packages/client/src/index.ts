export { ApiFailure, type FunctionRequest, type FunctionResponse, MayflyClient } from './client.js';
