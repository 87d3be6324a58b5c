// The forum in Chromium. BASE is the address of a running node with an account
// "ann" (password "correct horse battery") and the groups of a first start.
import test, { before, after } from "node:test";
import assert from "node:assert/strict";
import { base, group, axe, axeRules, launch, open as openIn, write, validator } from "./common.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());
const open = (options) => openIn(browser, options);

for (const javaScriptEnabled of [true, false]) {
  const how = javaScriptEnabled ? "with script" : "without script";

  test("read, post, reply, preview " + how, async () => {
    const page = await open({ javaScriptEnabled });
    await page.goto(base + "/");
    await page.click(`a[href="${group}"]`);
    await page.click("text=Welcome to");
    assert.match(await page.textContent("article .body"), /news server/);
    const url = await write(page, "Grüße " + how, "Hello there,\n\nthis is <b>text</b>.\n-- \nAnn");
    assert.match(await page.textContent(".body"), /this is <b>text<\/b>/);
    assert.match(await page.textContent(".sig"), /Ann/);
    await page.click("footer >> text=Reply");
    assert.match(await page.inputValue("#body"), /^Ann Gast wrote:\n> Hello there,/);
    await page.fill("#body", "> Hello there,\n\nMy answer.");
    await page.click("button[name=preview]");
    assert.match(await page.textContent(".preview .body"), /My answer/);
    assert.equal(await page.locator(".preview blockquote").count(), 1);
    await page.click("form.write button.button");
    await page.waitForURL(/\/m\//);
    await page.click("footer >> text=Thread");
    assert.equal(await page.locator("article.post").count(), 2);
    await page.click("text=As a tree");
    assert.equal(await page.locator("article.post.d1").count(), 1);
    await page.click("text=Index");
    assert.equal(await page.locator(".index li").count(), 2);
    await page.goto(url);
    await page.click("text=All headers");
    assert.match(await page.textContent("dl.hdr"), /Newsgroups/);
    assert.deepEqual(page.trouble, []);
    await page.context().close();
  });

  test("attachments " + how, async () => {
    const page = await open({ javaScriptEnabled });
    const png = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==", "base64");
    await write(page, "Picture " + how, "see", {
      files: [
        { name: "dot é.png", mimeType: "image/png", buffer: png },
        { name: "evil.html", mimeType: "text/html", buffer: Buffer.from("<script>document.title='owned'</script>") },
      ],
    });
    assert.equal(await page.locator(".files img").getAttribute("alt"), "dot é.png");
    const ok = await page.locator(".files img").evaluate((i) => i.decode().then(() => i.naturalWidth)).catch(() => (javaScriptEnabled ? 0 : 1));
    assert.equal(ok, 1);
    const res = await page.request.get(new URL(await page.locator("a[download]").getAttribute("href"), base).href);
    assert.match(res.headers()["content-disposition"], /^attachment/);
    assert.match(res.headers()["content-security-policy"], /sandbox/);
    assert.deepEqual(page.trouble, []);
    await page.context().close();
  });

  test("login, settings, unread " + how, async () => {
    const page = await open({ javaScriptEnabled });
    await page.goto(base + "/login?next=" + group);
    await page.fill("#name", "ann");
    await page.fill("#password", "wrong");
    await page.click("button.button");
    assert.match(await page.textContent("[role=alert]"), /wrong/);
    await page.fill("#password", "correct horse battery");
    await page.click("main button.button");
    await page.waitForURL("**" + group);
    assert.match(await page.textContent(".me"), /ann/);
    await write(page, "By a member " + how, "text", { name: null });
    await page.goto(base + "/settings?next=/");
    await page.check("input[name=theme][value=dark]");
    await page.check("input[name=lang][value=de]");
    await page.click("main button.button");
    await page.waitForURL(base + "/");
    assert.equal(await page.getAttribute("html", "data-theme"), "dark");
    assert.equal(await page.textContent("h1"), "Gruppen");
    const other = await open({ javaScriptEnabled });
    await write(other, "News for ann " + how, "text");
    await page.goto(base + group);
    assert.ok((await page.locator("li.unread").count()) >= 1);
    await page.click("text=Alles als gelesen markieren");
    assert.equal(await page.locator("li.unread").count(), 0);
    await page.click("text=Rückgängig");
    assert.ok((await page.locator("li.unread").count()) >= 1);
    await page.click("text=Abmelden");
    await page.waitForURL(base + "/");
    assert.match(await page.textContent(".me"), /Anmelden/);
    await other.context().close();
    await page.context().close();
  });
}

test("by keyboard alone", async () => {
  const page = await open();
  await page.goto(base + group);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("Enter");
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  assert.equal(await page.locator(".cur").count(), 1);
  await page.keyboard.press("k");
  await page.keyboard.press("o");
  await page.waitForURL(/\/t\//);
  await page.keyboard.press("j");
  await page.keyboard.press("r");
  await page.waitForURL(/\/reply/);
  assert.equal(await page.evaluate(() => document.activeElement.id), "body");
  await page.keyboard.type("Typed jkru answer");
  await page.keyboard.press("Control+Enter");
  await page.waitForURL(/\/m\/[^/]+$/);
  assert.match(await page.textContent(".body"), /Typed jkru answer/);
  await page.keyboard.press("b");
  await page.waitForURL(/\/t\//);
  await page.keyboard.press("b");
  await page.waitForURL("**" + group);
  await page.keyboard.press("c");
  await page.waitForURL(/\/post$/);
  await page.goBack();
  await page.keyboard.press("/");
  if (await page.locator("#q").count()) assert.equal(await page.evaluate(() => document.activeElement.id), "q");
  await page.keyboard.press("Escape");
  await page.keyboard.press("?");
  await page.waitForSelector("dialog.help[open] dl.keys");
  await page.keyboard.press("Escape");
  await page.waitForSelector("dialog.help[open]", { state: "detached" });
  assert.deepEqual(page.trouble, []);
  await page.context().close();
});

test("new articles are told of, without reloading", async () => {
  const page = await open();
  await page.goto(base + group);
  await page.waitForTimeout(300);
  const other = await open();
  await write(other, "Live", "text");
  await page.waitForSelector("button.live");
  assert.match(await page.textContent("button.live"), /1 new article/);
  await page.click("button.live");
  await page.waitForSelector("text=Live");
  await other.context().close();
  await page.context().close();
});

test("a draft survives leaving the page", async () => {
  const page = await open();
  await page.goto(base + group + "/post");
  await page.locator("#body").pressSequentially("half a thought");
  await page.goto(base + "/");
  await page.goto(base + group + "/post");
  assert.equal(await page.inputValue("#body"), "half a thought");
  await page.context().close();
});

const pages = async (page) => {
  const article = await write(page, "Donaudampfschifffahrtsgesellschaftskapitänsmützenfabrikant", "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz".repeat(3) + "\n\n> quoted\n> > deeper\n\na   b    c\nd   e    f\n\nhttp://" + "x".repeat(150) + ".example/\n");
  await page.goto(article);
  const thread = await page.getAttribute("[data-key=u]", "href");
  const path = new URL(article).pathname;
  return ["/", group, group + "?order=unread", "/g/mesh.market", thread.split("#")[0], thread.split("#")[0] + "?view=nested", thread.split("#")[0] + "?view=index", path, path + "?headers=all", path + "/reply", group + "/post", "/login", "/settings", "/help", "/search?q=welcome", "/search", "/none", "/u/" + "a".repeat(52) + "/"];
};

for (const colorScheme of ["light", "dark"])
  test("axe-core finds nothing, " + colorScheme, async () => {
    const page = await open({ colorScheme, bypassCSP: true });
    const trouble = [];
    for (const p of await pages(page)) {
      await page.goto(base + p);
      await page.addScriptTag({ content: axe });
      const found = await page.evaluate((runOnly) => window.axe.run({ runOnly }), axeRules);
      trouble.push(...found.violations.map((v) => [p, v.id, v.nodes.map((n) => n.html + " " + n.failureSummary).slice(0, 3)]));
    }
    assert.deepEqual(trouble, []);
    await page.context().close();
  });

test("html-validate finds nothing", async () => {
  const page = await open({ javaScriptEnabled: false });
  const v = validator();
  const trouble = [];
  for (const p of await pages(page)) {
    const res = await page.request.get(base + p);
    const report = await v.validateString(await res.text());
    trouble.push(...report.results.flatMap((r) => r.messages.map((m) => [p, m.line, m.ruleId, m.message, m.selector])));
  }
  assert.deepEqual(trouble, []);
  await page.context().close();
});

for (const width of [320, 360, 1280])
  test(`nothing is wider than ${width} px, and targets are large enough`, async () => {
    const page = await open({ viewport: { width, height: 700 } });
    for (const p of await pages(page)) {
      await page.goto(base + p);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(wide <= 0, `${p} is ${wide} px too wide`);
      const small = await page.evaluate(() =>
        [...document.querySelectorAll("button, .button, .tabs a, .post footer a, nav.me a, input:not([type=hidden],[type=radio],[type=checkbox]), textarea")]
          .filter((e) => e.offsetParent && !e.closest(".hp") && e.getBoundingClientRect().height < 43.5 && !e.classList.contains("new"))
          .map((e) => e.outerHTML.slice(0, 90) + " " + e.getBoundingClientRect().height));
      assert.deepEqual(small, [], p);
    }
    await page.context().close();
  });

test("another origin can neither post nor frame", async () => {
  const page = await open();
  const res = await page.request.post(base + group + "/post", { headers: { origin: "https://evil.example" }, form: { name: "x", subject: "x", body: "x" } });
  assert.equal(res.status(), 403);
  const get = await page.request.get(base + group);
  assert.match(get.headers()["content-security-policy"], /frame-ancestors 'none'/);
  await page.context().close();
});
