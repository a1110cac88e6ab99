// Builds the modules that npm and the Python package ship, and their types and licences: the client,
// and beside it those for React, the AI SDK and AG-UI, which import it by its name.
//
//   node scripts/build.mjs          writes dist/ and the static files of the Python package
//   node scripts/build.mjs --dist   writes dist/ only
//   node scripts/build.mjs --check  fails where the static files are not what the sources give
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { generateDtsBundle } from "dts-bundle-generator";
import { build } from "esbuild";
import { minify } from "terser";

// Each module, and what it may import by name: bytes gzipped are at most `limit`.
const MODULES = {
  client: { entry: "src/index.ts", imports: [], limit: 9216 },
  shared: { entry: "src/shared.ts", imports: [], limit: 4096 },
  react: { entry: "src/react.ts", imports: ["react", "streamstraight-celery"], limit: 2304 },
  "ai-sdk": { entry: "src/ai-sdk.ts", imports: ["streamstraight-celery"], limit: 3072 },
  "ag-ui": { entry: "src/ag-ui.ts", imports: ["streamstraight-celery"], limit: 2048 },
};
const root = new URL("../", import.meta.url);
const dist = new URL("dist/", root);
const served = new URL("../streamstraight_celery/static/streamstraight_celery/", root);
const at = (path) => fileURLToPath(new URL(path, root));

async function script({ entry, imports }) {
  const { outputFiles } = await build({
    entryPoints: [at(entry)],
    external: imports,
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
    legalComments: "none",
  });
  const { code } = await minify(outputFiles[0].text, {
    module: true,
    ecma: 2020,
    compress: { passes: 3, hoist_funs: true, inline: 1 },
    format: { preamble: "/*! streamstraight-celery (MIT, see client.licenses.txt) */" },
  });
  return `${code}\n`;
}

/** The client's own types in one file. */
function clientTypes() {
  const [text] = generateDtsBundle([{ filePath: at("src/index.ts"), output: { noBanner: true } }], {
    preferredConfigPath: at("tsconfig.json"),
  });
  return text;
}

/** The types of the other modules, which say all that they show in their entry. */
async function moduleTypes(...names) {
  const out = await mkdtemp(join(tmpdir(), "client-types-"));
  try {
    const options = ["-p", at("tsconfig.build.json"), "--outDir", out];
    const { status, stdout } = spawnSync(process.execPath, [at("node_modules/typescript/bin/tsc"), ...options], { encoding: "utf8" });
    if (status) throw new Error(stdout);
    return await Promise.all(names.map((name) => readFile(join(out, `${name}.d.ts`), "utf8")));
  } finally {
    await rm(out, { recursive: true });
  }
}

async function licenses() {
  const own = await readFile(at("LICENSE"), "utf8");
  const parser = await readFile(at("node_modules/eventsource-parser/LICENSE"), "utf8");
  return `client.js, shared.js, react.js, ai-sdk.js, ag-ui.js\n\n${own}\n---\n\nclient.js and shared.js include eventsource-parser\n\n${parser}`;
}

const [shared, react, aiSdk, agUi] = await moduleTypes("shared", "react", "ai-sdk", "ag-ui");
const files = {
  "client.d.ts": clientTypes(),
  "shared.d.ts": shared,
  "react.d.ts": react,
  "ai-sdk.d.ts": aiSdk,
  "ag-ui.d.ts": agUi,
  "client.licenses.txt": await licenses(),
};
for (const [name, module] of Object.entries(MODULES)) files[`${name}.js`] = await script(module);

const faults = [];
for (const [name, { imports, limit }] of Object.entries(MODULES)) {
  const size = gzipSync(files[`${name}.js`], { level: 9 }).length;
  console.log(`${name}.js: ${size} bytes gzipped, ${files[`${name}.js`].length} raw`);
  if (size > limit) faults.push(`${name}.js has ${size} bytes gzipped, more than ${limit}`);
  for (const file of [`${name}.js`, `${name}.d.ts`]) {
    const found = [...files[file].matchAll(/\b(?:from|import)\s*\(?["']([^"']+)["']/g)].map((match) => match[1]);
    const others = found.filter((each) => !imports.includes(each));
    if (others.length || files[file].includes("sourceMappingURL")) faults.push(`${file} is not self-contained: ${others}`);
  }
}

const check = process.argv.includes("--check");
const folders = process.argv.includes("--dist") ? [dist] : [dist, served];
for (const [name, text] of Object.entries(files)) {
  if (check) {
    const committed = await readFile(new URL(name, served), "utf8").catch(() => undefined);
    if (committed !== text) faults.push(`${name} is not what the sources give: run "npm run build" and commit it`);
    continue;
  }
  for (const folder of folders) {
    await mkdir(folder, { recursive: true });
    await writeFile(new URL(name, folder), text);
  }
}

for (const fault of faults) console.error(`error: ${fault}`);
process.exitCode = faults.length ? 1 : 0;
