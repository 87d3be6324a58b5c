// Reader's state and writing in Chromium: watched threads, drafts, unread marks,
// own articles of guests, live threads, uploads, keys. BASE as in forum.test.mjs, with an account "bob" too.
import test, { before, after } from "node:test";
import assert from "node:assert/strict";
import { base, group, launch, open as openIn, write, login, findings, tight } from "./common.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());
const open = (options) => openIn(browser, options);
const threadOf = async (page, article) => {
  await page.goto(article);
  const href = await page.getAttribute("[data-key=u]", "href");
  return base + href.split("#")[0];
};

for (const javaScriptEnabled of [true, false]) {
  const how = javaScriptEnabled ? "with script" : "without script";

  test("watch a thread " + how, async () => {
    const page = await open({ javaScriptEnabled });
    const other = await open({ javaScriptEnabled });
    const thread = await threadOf(other, await write(other, "To be watched " + how, "text"));
    await login(page, group);
    await page.goto(thread);
    await page.click("button[value=watch]");
    await page.waitForSelector("button[value=unwatch]");
    await page.goto(base + group);
    assert.equal(await page.locator("li", { hasText: "To be watched " + how }).locator(".tag").textContent(), "watched");
    await other.goto(thread);
    await other.fill("#quick", "news for who watches");
    await other.click("form.quick button.button");
    await other.waitForSelector("text=news for who watches");
    await page.goto(base + "/");
    assert.match(await page.textContent(".me .who .count"), /^1/);
    await page.click(".me .who");
    assert.match(await page.textContent("section:has(#watched)"), /1 new post/);
    await page.click("section:has(#watched) a.new");
    await page.waitForSelector("article.unread");
    await page.goto(base + "/mine");
    assert.equal(await page.locator(".me .count").count(), 0);
    await page.click("section:has(#watched) li:has-text('" + how + "') button");
    await page.waitForURL(base + "/mine");
    assert.equal(await page.locator("section:has(#watched) li", { hasText: "To be watched " + how }).count(), 0);
    assert.deepEqual(page.trouble, []);
    await page.context().close();
    await other.context().close();
  });

  test("mute a person by key " + how, async () => {
    const bob = await open({ javaScriptEnabled });
    await login(bob, group, "bob");
    const url = await write(bob, "From Bob " + how, "Bob says something", { name: null });
    const page = await open({ javaScriptEnabled });
    await login(page, group);
    const thread = await threadOf(page, url);
    await page.goto(url);
    await page.click("button[value=mute]");
    await page.waitForSelector("button[value=unmute]");
    await page.goto(thread);
    assert.equal(await page.textContent("details.muted > summary"), "Muted: bob – show");
    assert.equal(await page.isVisible("details.muted .body"), false);
    await page.click("details.muted > summary");
    assert.equal(await page.isVisible("details.muted .body"), true);
    await page.goto(base + "/mine");
    await page.click("section:has(#muted) button");
    await page.goto(thread);
    assert.equal(await page.locator("details.muted").count(), 0);
    assert.deepEqual(page.trouble, []);
    await page.context().close();
    await bob.context().close();
  });

  test("a draft at the node " + how, async () => {
    const page = await open({ javaScriptEnabled });
    await login(page, group);
    await page.goto(base + group + "/post");
    await page.fill("#subject", "Draft " + how);
    await page.locator("#body").pressSequentially("half a thought " + how);
    if (javaScriptEnabled) await page.waitForFunction(() => /Draft saved/.test(document.querySelector("#kept").textContent));
    else {
      await page.click("button[name=keep]");
      await page.waitForSelector("text=Draft saved");
    }
    const second = await open({ javaScriptEnabled }); // another browser of the same member
    await login(second, "/mine");
    await second.click("section:has(#drafts) a.t:has-text('Draft " + how + "')");
    assert.equal((await second.inputValue("#body")).trim(), "half a thought " + how);
    await second.fill("#body", "A whole thought " + how);
    await second.click("form.write button.button");
    await second.waitForURL(/\/m\//);
    await second.goto(base + "/mine");
    assert.equal(await second.locator("section:has(#drafts) a.t", { hasText: "Draft " + how }).count(), 0);
    assert.deepEqual(page.trouble, []);
    await page.context().close();
    await second.context().close();
  });

  test("a guest changes and deletes his own " + how, async () => {
    const page = await open({ javaScriptEnabled });
    const url = await write(page, "Own " + how, "first line\n\nwith a mistaek", { name: "Gustav Gast", files: [{ name: "note.txt", mimeType: "text/plain", buffer: Buffer.from("a note") }] });
    const stranger = await open({ javaScriptEnabled });
    await stranger.goto(url);
    assert.equal(await stranger.locator("footer >> text=Edit").count(), 0);
    await page.click("footer >> text=Edit");
    assert.match(await page.inputValue("#body"), /mistaek/);
    assert.equal(await page.inputValue("#name"), "Gustav Gast");
    await page.fill("#body", "first line\n\nwithout a mistake");
    await page.click("form.write button.button");
    await page.waitForURL((u) => /\/m\/[^/]+$/.test(u.pathname) && u.href !== url);
    assert.match(await page.textContent(".body"), /without a mistake/);
    assert.match(await page.textContent(".files"), /note.txt/);
    const changed = page.url();
    const res = await page.request.get(url);
    assert.equal(res.status(), 404);
    await page.click("footer >> text=Earlier versions");
    assert.match(await page.textContent(".patch del"), /with a mistaek/);
    assert.match(await page.textContent(".patch ins"), /without a mistake/);
    await page.goto(changed);
    await page.click("footer >> text=Delete");
    await page.click("main form button.button");
    await page.waitForURL(base + group);
    await page.waitForFunction(async (u) => (await fetch(u)).status === 404, changed).catch(async (e) => {
      if (javaScriptEnabled) throw e;
    });
    assert.deepEqual(page.trouble.filter((t) => !/404/.test(t)), []);
    await page.context().close();
    await stranger.context().close();
  });

  test("hints before sending, and one that mends " + how, async () => {
    const page = await open({ javaScriptEnabled });
    const url = await write(page, "Long " + how, Array.from({ length: 30 }, (_, i) => "A line that is long enough to be counted, number " + i).join("\n\n"));
    await page.goto(url + "/reply");
    const quote = await page.inputValue("#body");
    await page.fill("#body", "Mine stands above.\n\n" + quote);
    await page.click("form.write button.button");
    await page.waitForSelector(".hints");
    assert.match(await page.textContent(".hints"), /stands above/);
    assert.match(await page.textContent(".hints"), /Much more is quoted/);
    await page.click(".hints button[value=overquote]");
    await page.waitForSelector(".preview");
    await page.click(".hints button[value=toppost]");
    await page.waitForSelector(".preview");
    const body = await page.inputValue("#body");
    assert.ok(body.length < quote.length / 2, body);
    assert.match(body, /Mine stands above\.\s*$/);
    await page.click("form.write button.button");
    await page.waitForURL(/\/m\/[^/]+$/);
    await page.context().close();
  });
}

test("a thread is a chat: two readers, nobody reloads", async () => {
  const [a, b] = [await open(), await open()];
  const thread = await threadOf(a, await write(a, "Chat", "Who is here?"));
  await a.goto(thread);
  await b.goto(thread);
  await a.evaluate(() => (window.mark = "a"));
  await b.evaluate(() => (window.mark = "b"));
  for (let i = 0; i < 3; i++) {
    const [from, to] = i % 2 ? [b, a] : [a, b];
    await from.fill("#quick", "line " + i);
    await from.press("#quick", "Control+Enter");
    for (const p of [from, to]) await p.waitForSelector(`.posts article:has-text("line ${i}")`);
    assert.equal(await from.inputValue("#quick"), "");
  }
  assert.deepEqual([await a.evaluate(() => window.mark), await b.evaluate(() => window.mark)], ["a", "b"]);
  assert.equal(await b.locator(".posts article").count(), 4);
  assert.equal(await a.locator("button.live").count(), 0);
  assert.deepEqual(a.trouble.concat(b.trouble), []);
  // what came while a page was not connected is told of when it is again
  await b.route("**/events*", (r) => r.abort());
  await b.reload();
  await a.fill("#quick", "while you were away");
  await a.press("#quick", "Control+Enter");
  await a.waitForSelector('.posts article:has-text("while you were away")');
  await b.unroute("**/events*");
  await b.waitForSelector('.posts article:has-text("while you were away")');
  await a.context().close();
  await b.context().close();
});

test("without script a line says how many are new", async () => {
  const [a, b] = [await open({ javaScriptEnabled: false }), await open({ javaScriptEnabled: false })];
  const thread = await threadOf(a, await write(a, "Counted", "text"));
  await b.goto(base + group);
  await b.goto(thread);
  for (let i = 0; i < 3; i++) {
    await a.goto(thread);
    await a.fill("#quick", "answer " + i);
    await a.click("form.quick button.button");
    assert.match(a.url(), /page=last/);
  }
  await b.reload();
  assert.equal(await b.textContent(".tabs a.new"), "3 new posts");
  await b.click(".tabs a.new");
  assert.match(b.url(), /#p/);
  await a.context().close();
  await b.context().close();
});

test("uploads show how far they are, can be stopped, and what fails keeps the files", async () => {
  const page = await open();
  await page.goto(base + group + "/post");
  const file = (name, size) => ({ name, mimeType: "application/octet-stream", buffer: Buffer.alloc(size, 7) });
  await page.setInputFiles("#file", [file("big.bin", 3 << 20), file("small.bin", 11)]);
  assert.deepEqual(await page.locator(".picked li").allTextContents(), ["big.bin 3\u00a0MiB Take off", "small.bin 11\u00a0B Take off"]);
  await page.click("button[aria-label='Take off: small.bin']");
  const names = () => page.evaluate(() => [...document.querySelector("#file").files].map((f) => f.name));
  assert.deepEqual(await names(), ["big.bin"]);
  await page.fill("#subject", "Upload");
  const network = await page.context().newCDPSession(page);
  const speed = (n) => network.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: n, uploadThroughput: n });
  await network.send("Network.enable");
  await speed(300000);
  await page.click("form.write button.button");
  await page.waitForFunction(() => /Uploading: [0-9.]+\s(KiB|MiB) of 3\sMiB/.test(document.querySelector(".upload")?.textContent));
  assert.ok(await page.locator("form.write button.button").isDisabled());
  await page.click(".upload button");
  await page.waitForSelector("text=Stopped: nothing was sent");
  assert.equal(await page.locator(".upload").count(), 0);
  await speed(-1);
  await page.click("form.write summary");
  await page.fill("#groups", "no such group!");
  await page.click("form.write button.button");
  await page.waitForSelector("[role=alert]");
  assert.deepEqual(await names(), ["big.bin"]);
  await page.evaluate((g) => (document.querySelector("#groups").value = g), group.slice(3));
  await page.click("form.write button.button");
  await page.waitForURL(/\/m\/[^/]+$/);
  assert.match(await page.textContent(".files"), /big.bin/);
  await page.goto(base + group);
  assert.equal(await page.locator("a.t", { hasText: /^Upload$/ }).count(), 1);
  await page.goto(base + group + "/post");
  await page.evaluate(() => (document.querySelector("form.write").dataset.max = "1000"));
  await page.fill("#subject", "Too large");
  await page.setInputFiles("#file", [file("big.bin", 2000)]);
  await page.click("form.write button.button");
  await page.waitForSelector("text=are more than the 1,000");
  await page.context().close();
});

test("a draft is found by a reload, and two tabs do not write over each other", async () => {
  const page = await open();
  await login(page, group);
  await page.goto(base + group + "/post");
  await page.fill("#subject", "Two tabs");
  const saved = (p, word) => p.waitForFunction((w) => document.querySelector("#kept").textContent.includes(w), word);
  await page.fill("#body", "the first thought");
  await saved(page, "Draft saved");
  await page.reload();
  assert.equal((await page.inputValue("#body")).trim(), "the first thought");
  const other = await page.context().newPage();
  await other.goto(page.url());
  await other.fill("#body", "the second thought");
  await saved(other, "Draft saved");
  await page.fill("#body", "what the other tab does not know");
  await saved(page, "changed elsewhere");
  await other.reload();
  assert.equal((await other.inputValue("#body")).trim(), "the second thought");
  await page.click("button[name=keep]"); // on purpose
  await page.waitForSelector(".notice >> text=Draft saved");
  await other.reload();
  assert.equal((await other.inputValue("#body")).trim(), "what the other tab does not know");
  await page.context().close();
});

for (const javaScriptEnabled of [true, false])
  test("strangers answer a sum " + (javaScriptEnabled ? "with script" : "without script"), async () => {
    const page = await open({ javaScriptEnabled, extraHTTPHeaders: { "X-Forwarded-For": "192.0.2.9" } });
    await page.goto(base + group + "/post");
    await page.fill("#subject", "A stranger " + javaScriptEnabled);
    await page.fill("#body", "who is no machine and has something to say");
    await page.fill("#answer", "99");
    await page.click("form.write button.button");
    await page.waitForSelector("text=That answer does not hold");
    assert.equal((await page.inputValue("#body")).trim(), "who is no machine and has something to say");
    assert.equal(await page.inputValue("#answer"), "");
    const words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    const sum = (await page.textContent("label[for=answer]")).match(/much is (\w+) plus (\w+)/).slice(1).reduce((n, w) => n + words.indexOf(w), 0);
    const captcha = await page.inputValue("[name=captcha]");
    await page.fill("#answer", String(sum));
    await page.click("form.write button.button");
    await page.waitForURL(/\/m\/[^/]+$/);
    const again = { subject: "Once more", body: "with an answer that was spent", captcha, answer: String(sum) };
    assert.equal((await page.request.post(base + group + "/post", { form: again })).status(), 422);
    await page.context().close();
  });

test("files by drag", async () => {
  const page = await open();
  await page.goto(base + group + "/post");
  await page.evaluate(() => {
    const d = new DataTransfer();
    d.items.add(new File(["dragged"], "dragged.txt", { type: "text/plain" }));
    for (const t of ["dragover", "drop"]) document.querySelector("form.write").dispatchEvent(new DragEvent(t, { dataTransfer: d, bubbles: true, cancelable: true }));
  });
  assert.equal(await page.evaluate(() => document.querySelector("#file").files[0].name), "dragged.txt");
  await page.context().close();
});

test("DFeed's keys", async () => {
  const page = await open();
  await page.goto(base + group); // from now on what comes is new
  const thread = await threadOf(page, await write(page, "Keys", "see " + base + "/help and more"));
  await page.goto(thread);
  await page.fill("#quick", "second");
  await page.click("form.quick button.button");
  await page.waitForSelector('article:has-text("second")');
  await page.keyboard.press("Escape");
  await page.keyboard.press("Control+ArrowDown");
  assert.equal(await page.locator(".cur").count(), 1);
  await page.keyboard.press("1");
  await page.waitForURL(/\/help$/);
  await page.goto(thread);
  await page.keyboard.press("j");
  await page.keyboard.press("u");
  await page.waitForSelector("article.unread.cur");
  await page.keyboard.press("b");
  await page.waitForURL(base + group);
  await page.waitForSelector("li.unread:has-text('Keys')");
  await page.keyboard.press("n");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/t\//);
  await page.goto(base + group);
  await page.keyboard.press("J");
  await page.waitForURL(/\/t\//);
  await page.keyboard.press("?");
  await page.waitForSelector("dialog.help[open]");
  assert.match(await page.textContent("dialog.help"), /previous and next page/);
  await page.keyboard.press("Escape");
  assert.deepEqual(page.trouble, []);
  await page.context().close();
});

test("the pages of this file: axe-core, html-validate, 320 pixels, targets", async () => {
  const trouble = [];
  const guest = await open({ bypassCSP: true, viewport: { width: 320, height: 700 } });
  const url = await write(guest, "Checked", "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz".repeat(2));
  await guest.goto(url + "/edit");
  await guest.fill("#body", "other text");
  await guest.click("form.write button.button");
  await guest.waitForURL((u) => /\/m\/[^/]+$/.test(u.pathname) && u.href !== url);
  const article = new URL(guest.url()).pathname;
  const thread = new URL(await threadOf(guest, base + article)).pathname;
  const page = await open({ bypassCSP: true, viewport: { width: 320, height: 700 }, colorScheme: "dark" });
  await login(page, "/mine");
  await page.goto(base + thread);
  await page.click("button[value=watch]");
  await page.goto(base + group + "/post");
  await page.fill("#subject", "Draft with a very long Donaudampfschifffahrtsgesellschaftskapitänsmützenfabrikant");
  await page.fill("#body", "text");
  await page.click("button[name=keep]");
  await page.waitForSelector("text=Draft saved");
  for (const [p, paths] of [
    [guest, [article, article + "/history", article + "/edit", article + "/delete", thread]],
    [page, ["/mine", thread, thread + "?view=nested", group + "/post", group, article]],
  ])
    for (const path of paths) {
      await p.goto(base + path);
      trouble.push(...(await tight(p)).map((t) => [path, t]), ...(await findings(p, path)));
    }
  await page.goto(base + group);
  await page.keyboard.press("?");
  await page.waitForSelector("dialog.help[open]");
  trouble.push(...(await findings(page, "/help")));
  assert.deepEqual(trouble, []);
  await page.context().close();
  await guest.context().close();
});
