// Bundles the tests and runs them: all on the sources, and those of the whole client once more on
// the module that is shipped. With arguments, only tests whose file name begins with one of them:
//
//   npm test -- protocol cases
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("../", import.meta.url));
const shipped = join(root, "../streamstraight_celery/static/streamstraight_celery/client.js");
const chosen = process.argv.slice(2);
const wanted = (name) => !chosen.length || chosen.some((each) => name.startsWith(each));
const out = await mkdtemp(join(tmpdir(), "client-test-"));
const tests = (await readdir(join(root, "test"))).filter((name) => name.endsWith(".test.ts") && wanted(name));

const useShipped = {
  name: "use-shipped",
  setup: ({ onResolve }) => onResolve({ filter: /src\/index\.ts$/ }, () => ({ path: shipped })),
};

async function bundle(names, outdir, plugins = []) {
  await build({
    entryPoints: names.map((name) => join(root, "test", name)),
    outdir: join(out, outdir),
    outExtension: { ".js": ".mjs" },
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    sourcemap: "inline",
    // Parts of the AI SDK are CommonJS, and require Node's own modules.
    banner: { js: 'import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url);' },
    plugins,
  });
  return names.map((name) => join(out, outdir, name.replace(/\.ts$/, ".mjs")));
}

try {
  const files = [
    ...(await bundle(tests, "sources")),
    ...(await bundle(tests.filter((name) => name.startsWith("stream")), "shipped", [useShipped])),
  ];
  const { status } = spawnSync(process.execPath, ["--enable-source-maps", "--test", "--test-timeout=300000", "--test-reporter=spec", ...files], { stdio: "inherit" });
  process.exitCode = status ?? 1;
} finally {
  await rm(out, { recursive: true });
}
