/** How a test starts a script of this repository as a process: compiled where the test run compiled it, else by tsx. */
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** Names the folder of the compiled sources; set before the tests. */
export const compiledVariable = "MNEME_TEST_COMPILED";

const root = fileURLToPath(new URL("../../", import.meta.url));
// What is compiled itself, such as a tool that starts writers, needs no variable
const compiled = import.meta.url.endsWith(".js") ? root : process.env[compiledVariable];

/** The module that stands for a source, by its path in the repository, such as "src/cli/main.ts". */
const moduleFile = (path: string): string =>
  compiled === undefined ? join(root, path) : join(compiled, path.replace(/\.ts$/, ".js"));

/** The same as a URL, for import in the text of a script. */
export const moduleUrl = (path: string): string => pathToFileURL(moduleFile(path)).href;

/** Arguments of `node` that make it able to import these modules. */
export const loader = (): string[] => (compiled === undefined ? ["--import", import.meta.resolve("tsx")] : []);

/** Arguments of `node` that run the script at this path in the repository. */
export const scriptArguments = (path: string): string[] => [...loader(), moduleFile(path)];
