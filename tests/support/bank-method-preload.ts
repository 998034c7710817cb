/** Puts the stub that keeps documents into the catalogue of methods: for the command line as a child process. */
import type { MethodDefinition } from "../../src/methods/definition.ts";
import { methods } from "../../src/methods/index.ts";
import { bankDefinition } from "./bank-method.ts";

(methods as Record<string, MethodDefinition>)["stub-bank"] = bankDefinition;
