// Builds the one module that npm and the Python package ship, and its types and licences.
//
//   node scripts/build.mjs          writes dist/ and the static files of the Python package
//   node scripts/build.mjs --check  fails where the static files are not what the sources give
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { generateDtsBundle } from "dts-bundle-generator";
import { build } from "esbuild";
import { minify } from "terser";

const LIMIT = 4096;
const root = new URL("../", import.meta.url);
const dist = new URL("dist/", root);
const served = new URL("../streamstraight_celery/static/streamstraight_celery/", root);
const at = (path) => fileURLToPath(new URL(path, root));

async function script() {
  const { outputFiles } = await build({
    entryPoints: [at("src/index.ts")],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
    legalComments: "none",
  });
  const { code } = await minify(outputFiles[0].text, {
    module: true,
    ecma: 2020,
    compress: { passes: 3 },
    format: { preamble: "/*! streamstraight-celery (MIT, see client.licenses.txt) */" },
  });
  return `${code}\n`;
}

function types() {
  const [text] = generateDtsBundle([{ filePath: at("src/index.ts"), output: { noBanner: true } }], {
    preferredConfigPath: at("tsconfig.json"),
  });
  return text;
}

async function licenses() {
  const own = await readFile(at("LICENSE"), "utf8");
  const parser = await readFile(at("node_modules/eventsource-parser/LICENSE"), "utf8");
  return `client.js\n\n${own}\n---\n\nclient.js includes eventsource-parser\n\n${parser}`;
}

const files = {
  "client.js": await script(),
  "client.d.ts": types(),
  "client.licenses.txt": await licenses(),
};

const faults = [];
const size = gzipSync(files["client.js"], { level: 9 }).length;
if (size > LIMIT) faults.push(`client.js has ${size} bytes gzipped, more than ${LIMIT}`);
for (const name of ["client.js", "client.d.ts"]) {
  if (/\bimport\b|\bfrom\s*["']|sourceMappingURL/.test(files[name])) faults.push(`${name} is not self-contained`);
}

const check = process.argv.includes("--check");
for (const [name, text] of Object.entries(files)) {
  if (check) {
    const committed = await readFile(new URL(name, served), "utf8").catch(() => undefined);
    if (committed !== text) faults.push(`${name} is not what the sources give: run "npm run build" and commit it`);
    continue;
  }
  for (const folder of [dist, served]) {
    await mkdir(folder, { recursive: true });
    await writeFile(new URL(name, folder), text);
  }
}

for (const fault of faults) console.error(`error: ${fault}`);
console.log(`client.js: ${size} bytes gzipped, ${files["client.js"].length} raw`);
process.exitCode = faults.length ? 1 : 0;
