// What `npm publish` would send, installed into an empty project.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";

const root = process.cwd();
const served = join(root, "../streamstraight_celery/static/streamstraight_celery");
const project = mkdtempSync(join(tmpdir(), "client-package-"));
const installed = join(project, "node_modules/streamstraight-celery");
const run = (command: string, ...words: string[]) => execFileSync(command, words, { cwd: project, encoding: "utf8" });

before(() => {
  execFileSync("npm", ["pack", "--silent", "--pack-destination", project], { cwd: root, stdio: "pipe" });
  mkdirSync(installed, { recursive: true });
  writeFileSync(join(project, "package.json"), '{ "type": "module" }');
  const [archive] = readdirSync(project).filter((name) => name.endsWith(".tgz"));
  run("tar", "-xzf", archive ?? assert.fail(), "-C", installed, "--strip-components=1");
  for (const name of ["react", "@types", "csstype"]) symlinkSync(join(root, "node_modules", name), join(project, "node_modules", name));
});
after(() => rmSync(project, { recursive: true }));

test("it holds the modules, their types and licences, and nothing else", () => {
  const files = readdirSync(installed, { recursive: true, withFileTypes: true });
  const names = files.filter((each) => each.isFile()).map(({ parentPath, name }) => join(parentPath, name).slice(installed.length + 1));
  assert.deepEqual(names.sort(), [
    "LICENSE", "README.md",
    "dist/ag-ui.d.ts", "dist/ag-ui.js", "dist/ai-sdk.d.ts", "dist/ai-sdk.js", "dist/client.d.ts", "dist/client.js", "dist/client.licenses.txt",
    "dist/react.d.ts", "dist/react.js", "dist/shared.d.ts", "dist/shared.js",
    "package.json", "skills/streamstraight-celery/SKILL.md",
  ]);
});

test("the Python package ships the same bytes", () => {
  const names = readdirSync(join(installed, "dist"));
  // The relay's own page of streams is served from there, too.
  const ours = readdirSync(served).filter((name) => !name.startsWith("streams"));
  assert.deepEqual(ours.sort(), names.sort());
  for (const name of names) {
    assert.deepEqual(readFileSync(join(installed, "dist", name)), readFileSync(join(served, name)), name);
  }
});

test("every module keeps to the size that the documentation states", () => {
  const docs = readFileSync(join(root, "../docs/clients.md"), "utf8");
  const stated = /^Sizes are limited, gzipped: ([^]*?)\. /m.exec(docs)?.[1] ?? "";
  const limits = Object.fromEntries([...stated.matchAll(/`(.+?)` ([\d.]+) kB/g)].map(([, name, size]) => [name, Number(size) * 1024]));
  const modules = readdirSync(join(installed, "dist")).filter((name) => name.endsWith(".js"));
  assert.deepEqual(Object.keys(limits).sort(), modules.sort());
  for (const name of modules) {
    const size = gzipSync(readFileSync(join(installed, "dist", name)), { level: 9 }).length;
    assert.ok(size <= (limits[name] ?? 0), `${name} has ${size} bytes`);
  }
});

test("client.js is one self-contained module", () => {
  const text = readFileSync(join(installed, "dist/client.js"), "utf8");
  assert.doesNotMatch(text, /\bimport\s*[("'{*]|\bfrom\s*["']|sourceMappingURL/);
});

test("each entry can be imported, and they share one client", () => {
  const code = `
    import { openStream, StreamError } from "streamstraight-celery";
    import { sharedFetch } from "streamstraight-celery/shared";
    import { useStream } from "streamstraight-celery/react";
    import { StreamTransport } from "streamstraight-celery/ai-sdk";
    import { relayFetch } from "streamstraight-celery/ag-ui";
    console.log(typeof openStream, typeof StreamError, typeof sharedFetch, typeof useStream, typeof StreamTransport, typeof relayFetch);
  `;
  const said = run(process.execPath, "--input-type=module", "-e", code).trim();
  assert.equal(said, "function function function function function function");
});

const STRICT = ["--strict", "--noEmit", "--exactOptionalPropertyTypes", "--skipLibCheck", "false", "--target", "es2022", "--types", "node"];
const PROJECTS = {
  nodenext: ["--module", "nodenext", "--lib", "es2022,dom,dom.iterable"],
  node16: ["--module", "node16", "--lib", "es2022,dom,dom.iterable"],
  bundler: ["--module", "esnext", "--moduleResolution", "bundler", "--lib", "es2022,dom,dom.iterable"],
  "Node alone, without the types of a page": ["--module", "nodenext", "--lib", "es2022"],
};

for (const [name, options] of Object.entries(PROJECTS)) {
  test(`the types are found and hold together: ${name}`, () => {
    writeFileSync(
      join(project, "use.ts"),
      `import { openStream, type StreamOptions, type StreamRef } from "streamstraight-celery";
       import { sharedFetch } from "streamstraight-celery/shared";
       import { useStream } from "streamstraight-celery/react";
       import { StreamTransport, type StreamTransportOptions } from "streamstraight-celery/ai-sdk";
       import { relayFetch } from "streamstraight-celery/ag-ui";
       declare const maybe: string | undefined;
       export const read = (ref: StreamRef) => openStream<{ text: string }>(ref).toReadableStream();
       export const shared = openStream("https://relay.example/v1/stream/a", { fetch: sharedFetch });
       export const status: string = useStream<number>(null, { reduce: undefined, initial: undefined }).status;
       export const agentFetch = relayFetch({ fetch: undefined, stream: { pool: true, onError: undefined } });
       const options: StreamTransportOptions = { api: maybe, headers: undefined, credentials: undefined, stream: undefined };
       export const transport = new StreamTransport(options);
       export const persisted: StreamOptions<string> = {
         persist: { key: "a", storage: { getItem: () => null, setItem: () => {} } }, offset: maybe,
       };
       // @ts-expect-error no such option
       openStream("https://relay.example/v1/stream/a", { tokens: 1 });
       // @ts-expect-error no storage
       openStream("https://relay.example/v1/stream/a", { persist: { key: "a", storage: {} } });`,
    );
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const { status, stdout } = spawnSync(process.execPath, [tsc, ...STRICT, ...options, "use.ts"], { cwd: project, encoding: "utf8" });
    assert.equal(status, 0, stdout);
  });
}
