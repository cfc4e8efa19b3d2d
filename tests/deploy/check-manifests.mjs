// SPDX-License-Identifier: Apache-2.0
// Reads a JSON array of Kubernetes objects, and prints what is wrong with them, a line each: what their
// schemas say (kubernetes-models, made of Kubernetes' own OpenAPI and of the Prometheus operator's), and, since those let pass what they
// do not know, what a compiler says that is given each object as a literal of its type.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const ts = require("typescript");
const here = dirname(fileURLToPath(import.meta.url));
const work = join(here, "node_modules", `.check-${process.pid}`);

const objects = JSON.parse(readFileSync(0, "utf8"));
const found = [];
const files = [];
mkdirSync(work, { recursive: true });
try {
  objects.forEach((object, index) => {
    const models = object.apiVersion.startsWith("monitoring.") ? "@kubernetes-models/prometheus-operator" : "kubernetes-models";
    const module = `${models}/${object.apiVersion}/${object.kind}`;
    const name = `${object.kind} ${object.metadata?.name}`;
    try {
      new (require(module)[object.kind])(object).validate();
    } catch (error) {
      found.push(`${name}: ${error.message}`);
      if (error.code === "MODULE_NOT_FOUND") return;
    }
    const file = join(work, `${index}.ts`);
    files.push(file);
    writeFileSync(file, `import type { I${object.kind} } from "${module}";\n` +
      `export const ${object.kind}_${index}: I${object.kind} = ${JSON.stringify(object, null, 1)};\n`);
  });
  const program = ts.createProgram(files, {
    noEmit: true, strict: true, skipLibCheck: true, types: [],
    module: ts.ModuleKind.CommonJS, moduleResolution: ts.ModuleResolutionKind.Node10, ignoreDeprecations: "5.0",
    paths: {
      "kubernetes-models/*": [join(here, "node_modules", "kubernetes-models", "*")],
      "@kubernetes-models/*": [join(here, "node_modules", "@kubernetes-models", "*")],
    },
  });
  for (const diagnostic of ts.getPreEmitDiagnostics(program)) {
    const at = diagnostic.file ? objects[parseInt(diagnostic.file.fileName.split("/").pop(), 10)] : undefined;
    found.push(`${at?.kind} ${at?.metadata?.name}: ${ts.flattenDiagnosticMessageText(diagnostic.messageText, " ")}`);
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
console.log(found.join("\n"));
process.exitCode = found.length ? 1 : 0;
