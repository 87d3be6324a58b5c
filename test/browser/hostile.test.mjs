// Payloads in every place of the forum, in a Chromium that does not enforce the content
// policy: what is written into a page must be harmless by itself. BASE is a node as
// hostile_test.go fills it.
import test, { before, after } from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { base, launch } from "./common.mjs";

const payloads = JSON.parse(readFileSync(new URL("./payloads.json", import.meta.url), "utf8"));
// some are those of a list that the payload of number i is tried with: each in its turn,
// or all if HOSTILE_ALL is set (six minutes instead of two).
const some = (list, i, every) => (process.env.HOSTILE_ALL ? list : list.filter((_, k) => (k + i) % every === 0));
let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

// watched is a page that notes whatever ran, asked elsewhere or went elsewhere.
async function watched(options) {
  const context = await browser.newContext({ locale: "en-GB", bypassCSP: true, ...options });
  const trouble = [];
  await context.route((url) => !url.href.startsWith(base + "/"), (route) => (trouble.push("asks " + route.request().url()), route.abort()));
  const page = await context.newPage();
  page.setDefaultTimeout(20000);
  context.on("page", (p) => trouble.push("opens " + p.url()));
  page.on("dialog", (d) => (trouble.push("dialog " + d.message()), d.dismiss()));
  page.on("pageerror", (e) => trouble.push(String(e)));
  page.on("framenavigated", (f) => f.url().startsWith(base) || f.url() === "about:blank" || trouble.push("goes to " + f.url()));
  return Object.assign(page, { trouble });
}

// smells lists what no page of the forum has: handlers, style attributes, addresses that
// run or load from elsewhere, elements that authors may not have, ids that hide others.
const smells = () => {
  const out = [];
  if (document.title === "owned") out.push("ran");
  const ids = new Set();
  for (const e of document.querySelectorAll("*")) {
    const where = e.outerHTML.slice(0, 120);
    if (/^(iframe|frame|object|embed|applet|base|style|template|portal|math|svg|noscript|link|meta)$/i.test(e.localName) && !e.closest("head")) out.push("element " + where);
    if (e.localName === "script" && !/^\/-\/[0-9a-f]+\.js$/.test(e.getAttribute("src"))) out.push("script " + where);
    if (e.id && (ids.has(e.id) || (e.closest(".body") && !/^p[0-9a-f]+$/.test(e.id)))) out.push("id " + where);
    ids.add(e.id);
    for (const a of e.attributes) {
      if (/^on|^style$|^srcdoc$|^ping$|^formaction$|^srcset$|^autofocus$|^contenteditable$|^accesskey$|^background$|:/.test(a.name)) out.push(a.name + " " + where);
      if (/^(href|src|action|data|poster|cite)$/.test(a.name)) {
        const scheme = a.value.trim().toLowerCase().replace(/[\x00-\x20]/g, "").match(/^[^/?#]*?:/);
        const own = /^(src|action|data|poster)$/.test(a.name) && new URL(a.value, location).origin !== location.origin;
        if ((scheme && !/^(https?|mailto|news|nntp|magnet):$/.test(scheme[0])) || own) out.push(a.name + " " + where);
      }
    }
    if (e.localName === "form" && e.closest(".body")) out.push("form " + where);
  }
  if (document.querySelectorAll("main").length !== 1 || !document.querySelector("body > footer")) out.push("the page's frame is broken");
  return out;
};

async function look(page, path, least = 0) {
  const res = await page.goto(base + path).catch((e) => {
    throw new Error(path + ": " + e);
  });
  assert.ok(res.status() < 500 && res.status() >= least, `${path}: ${res.status()}`);
  assert.deepEqual(await page.evaluate(smells), [], path);
  assert.deepEqual(page.trouble, [], path);
  return res;
}

async function links(page, group) {
  const seen = new Set();
  for (let path = "/g/" + group; path; ) {
    await look(page, path);
    for (const href of await page.locator("a.t").evaluateAll((all) => all.map((a) => a.getAttribute("href")))) seen.add(href.split("#")[0]);
    const next = page.locator(".pager a[rel=next]");
    path = (await next.count()) ? new URL(await next.first().getAttribute("href"), page.url()).href.slice(base.length) : "";
  }
  return [...seen];
}

test("the watch sees what it is to see", async () => {
  const page = await watched();
  await page.goto(base + "/help");
  await page.evaluate(() => (document.querySelector("main").innerHTML = `<div class=body id=x style="color:red"><a href="java&#9;script:1">x</a><img src=https://evil.example/ onerror="document.title='owned'"><form></form></div>`));
  await page.waitForFunction(() => document.title === "owned");
  const found = (await page.evaluate(smells)).map((s) => s.split(" ")[0]);
  assert.deepEqual(found, ["ran", "id", "style", "href", "src", "onerror", "form"]);
  assert.deepEqual(page.trouble, ["asks https://evil.example/"]);
  await page.context().close();
});

for (const [group, most] of [["test.mean", payloads.length], ["test.meanfeed", 25]])
  test("what articles of " + group + " carry stays inert in every view", async () => {
    const page = await watched();
    const threads = await links(page, group);
    assert.ok(threads.length >= most, `only ${threads.length} threads`);
    const messages = new Set();
    for (const t of threads) {
      await look(page, t + "?view=nested");
      await look(page, t);
      for (const m of await page.locator("a.when").evaluateAll((all) => all.map((a) => a.getAttribute("href")))) messages.add(m);
    }
    assert.ok(messages.size >= threads.length, `only ${messages.size} messages`);
    for (const [i, m] of [...messages].entries()) for (const path of some([m + "?headers=all", m + "/reply"], i, 2)) await look(page, path);
    for (const q of ["before", "mean", "owned", "evil"]) await look(page, "/search?q=" + q);
    await look(page, "/?under=test.mean");
    await page.context().close();
  });

test("files that are attached run nowhere, opened by themselves", async () => {
  const page = await watched({ bypassCSP: false });
  const names = new Set();
  let n = 0;
  for (const i of payloads.keys()) {
    await page.goto(base + `/m/parts${i}@evil.example`);
    const files = await page.locator("ul.files a[href^='/m/'], .body a[href*='/a/'], main img[src*='/a/']").evaluateAll((all) => all.map((a) => a.href || a.src));
    for (const url of new Set(files)) {
      n++;
      const res = await page.request.get(url, { maxRedirects: 0 });
      const h = res.headers();
      assert.equal(res.status(), 200, url);
      assert.equal(h["x-content-type-options"], "nosniff", url);
      assert.match(h["content-security-policy"], /sandbox/, url);
      assert.match(h["content-type"], /^(application\/octet-stream|text\/plain; charset=utf-8|image\/(png|jpeg|gif|webp|avif|bmp)|audio\/[a-z0-9.+-]+|video\/[a-z0-9.+-]+)$/, url);
      assert.ok(!/^text|^application/.test(h["content-type"]) || h["content-disposition"].startsWith("attachment"), url);
      assert.ok(!("location" in h) && !("set-cookie" in h), url);
      assert.doesNotMatch(h["content-disposition"], /[\x00-\x1f]|\.\.\/|\.\.%2f/i, url);
      names.add(h["content-disposition"]);
      await page.goto(url).catch((e) => assert.match(String(e), /Download is starting|ERR_ABORTED/));
      assert.notEqual(await page.title().catch(() => ""), "owned", url);
    }
    const raw = await page.request.get(base + `/m/parts${i}@evil.example/raw`);
    assert.equal(raw.headers()["content-type"], "text/plain; charset=utf-8");
    await page.goto(base + `/m/parts${i}@evil.example/raw`);
    assert.notEqual(await page.title(), "owned");
  }
  assert.ok(n > payloads.length && names.size > payloads.length, `${n} files, ${names.size} names`);
  assert.deepEqual(page.trouble, []);
  await page.context().close();
});

test("addresses, questions, cookies and header fields stay inert", async () => {
  const page = await watched();
  for (const [i, p] of payloads.entries()) {
    const e = encodeURIComponent(p);
    for (const path of some([`/search?q=${e}`, `/?find=${e}&under=${e}`, `/g/${e}`, `/g/test.mean/t/${e}`, `/m/${e}`, `/u/${e}/`, `/login?next=${e}`, `/settings?next=${e}`, `/${e}`, `/mail/decide?t=${e}`], i, 3))
      await look(page, path);
    for (const path of [`/-/${e}`, `/t/${e}`, `/magnet?xt=${e}`, `/g/${e}/feed.atom`, `/search.atom?q=${e}`]) {
      const res = await page.request.get(base + path, { maxRedirects: 0 });
      if (/html|svg/.test(res.headers()["content-type"])) await look(page, path);
      assert.ok(res.status() < 500 && !("set-cookie" in res.headers()), path);
    }
    const text = p.replace(/[^\x20-\x7e]/g, "");
    const headers = { "Accept-Language": text, Referer: text, "X-Forwarded-For": text, "X-Forwarded-Host": text, "If-None-Match": text, "User-Agent": text, Cookie: `litfass_prefs=${encodeURIComponent("n=" + encodeURIComponent(p) + "&l=" + text + "&t=" + text)}; litfass_read=${e}; litfass_session=${e.slice(0, 43)}; litfass_guest=${e.slice(0, 43)}` };
    for (const path of some(["/", "/g/test.mean/post", "/settings", "/nothing"], i, 4)) {
      const res = await page.request.get(base + path, { headers });
      assert.ok(res.status() < 500, path);
      await page.setContent(await res.text());
      assert.deepEqual((await page.evaluate(smells)).filter((s) => !/^(src|script|action)/.test(s)), [], path + " " + p);
    }
  }
  assert.deepEqual(page.trouble.filter((t) => !t.startsWith("asks " + base)), []);
  await page.context().close();
});

for (const javaScriptEnabled of [true, false])
  test("what is written into forms stays inert " + (javaScriptEnabled ? "with script" : "without script"), async () => {
    const page = await watched({ javaScriptEnabled });
    for (const p of some(payloads, javaScriptEnabled, 2)) {
      await page.goto(base + "/g/test.mean/post");
      await page.fill("#name", p.replace(/[\r\n]/g, ""));
      await page.fill("#subject", p.replace(/[\r\n]/g, ""));
      await page.fill("#body", p + "\n\n> " + p);
      await page.setInputFiles("#file", [{ name: p.replace(/[\x00-\x1f/]/g, "").slice(0, 100) || "x", mimeType: "text/html", buffer: Buffer.from(p) }]);
      await page.click("button[name=preview]");
      await page.waitForSelector(".preview");
      assert.deepEqual(await page.evaluate(smells), [], p);
      assert.deepEqual(page.trouble, [], p);
    }
    await page.context().close();
  });
