// Trust, moderation and administration in Chromium. BASE is a node with the accounts
// ann, eve and root (an administrator), articles that carry hostile payloads in
// test.hostile, a torrent, a peer in its file, and three measurements; FRESH one that
// was never used; FEED the address of a feed; LEAVE and DECIDE what two mails of a
// third node lead to, for a subscriber and for a moderator.
import test, { before, after } from "node:test";
import assert from "node:assert/strict";
import { base, group, launch, open as openIn, write, findings, tight } from "./common.mjs";

const fresh = process.env.FRESH;
let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());
const open = (options) => openIn(browser, options);

async function login(page, name, password = "correct horse battery") {
  await page.goto(base + "/login");
  await page.fill("#name", name);
  await page.fill("#password", password);
  await page.click("main button.button");
  await page.waitForURL(base + "/");
}

async function as(name, options) {
  const page = await open(options);
  await login(page, name);
  return page;
}

async function ends(...pages) {
  for (const page of pages) {
    assert.deepEqual(page.trouble, []);
    await page.context().close();
  }
}

// turned presses a button and waits for the page that follows, which may have the
// address of the one before.
const turned = (page, button) => Promise.all([page.waitForEvent("framenavigated"), button.click()]).then(() => page.waitForLoadState());

const status = async (page, path) => (await page.request.get(path.startsWith("http") ? path : base + path)).status();
const person = async (page, article) => {
  await page.goto(article);
  return page.getAttribute(".trust a", "href");
};

for (const javaScriptEnabled of [true, false]) {
  const how = javaScriptEnabled ? "with script" : "without script";
  const options = { javaScriptEnabled };

  test("report, hide, log, show again " + how, async () => {
    const guest = await open(options), root = await as("root", options);
    const url = await write(guest, "Bad words " + how, "spam");
    await guest.click("footer >> text=Report");
    await guest.fill("#reason", "it is spam");
    await guest.click("main button.button");
    assert.match(await guest.textContent("h1"), /Reported/);
    await root.goto(base + "/moderate");
    const row = root.locator("li", { hasText: "Bad words " + how });
    assert.match(await row.textContent(), /it is spam/);
    await row.locator("a.button").click();
    await root.fill("#reason", "spam indeed " + how);
    await root.click("main button.button");
    await root.waitForURL(url);
    assert.match(await root.textContent(".notice"), /spam indeed/);
    assert.equal(await status(guest, url), 410);
    const feed = await (await guest.request.get(base + group + "/feed.atom")).text();
    assert.ok(!feed.includes("Bad words " + how));
    await guest.goto(base + "/log");
    assert.match(await guest.textContent("main"), new RegExp("hidden.*spam indeed " + how));
    await root.fill("[name=reason]", "it was a quotation");
    await root.click("text=Show it again");
    await root.waitForURL(url);
    assert.equal(await status(guest, url), 200);
    await guest.goto(base + "/log");
    assert.match(await guest.textContent("main"), /it was a quotation/);
    const trouble = guest.trouble.splice(0);
    assert.deepEqual(trouble.filter((t) => !/410/.test(t)), []);
    await ends(guest, root);
  });

  test("a key is barred, and freed " + how, async () => {
    const eve = await as("eve", options), root = await as("root", options), guest = await open(options);
    const url = await write(eve, "By eve " + how, "text", { name: null });
    const who = await person(root, url);
    await root.goto(base + who);
    await root.click("text=Bar this key");
    await root.fill("#reason", "flood " + how);
    await root.click("main button.button");
    await root.waitForURL(base + who);
    assert.match(await root.textContent(".notice.bad"), /flood/);
    assert.equal(await status(guest, url), 410);
    await eve.goto(base + group + "/post");
    await eve.fill("#subject", "again");
    await eve.fill("#body", "again");
    await eve.click("form.write button.button");
    await eve.waitForSelector("[role=alert], .notice.bad, .errors");
    assert.match(await eve.textContent("main"), /key/);
    await root.fill("[name=reason]", "sorry");
    await root.click("text=Lift it");
    await root.waitForURL(base + who);
    assert.equal(await status(guest, url), 200);
    eve.trouble = eve.trouble.filter((t) => !/40[0-9]|422/.test(t));
    await ends(eve, root, guest);
  });

  test("a person's page, vouching and taking back " + how, async () => {
    const ann = await as("ann", options), root = await as("root", options);
    const url = await write(ann, "By ann " + how, "text", { name: null });
    assert.match(await ann.textContent(".trust"), /✓\s*signed by ann/);
    const who = await person(root, url);
    await root.goto(base + who);
    for (const text of [/Its key is in order/, /An account of this node/, /box\.test\.example: may post/, /By ann/]) assert.match(await root.textContent("main"), text);
    await root.click("text=Vouch for this person");
    await root.check("[name=purpose][value=moderate]");
    await root.fill("#scope", "mesh.*");
    await root.fill("#password", "wrong");
    await root.click("text=Sign and publish");
    assert.match(await root.textContent("[role=alert]"), /password is wrong/);
    await root.fill("#password", "correct horse battery");
    await root.click("text=Sign and publish");
    await root.waitForURL(base + who);
    assert.match(await root.textContent("main"), /root: may moderate in mesh/);
    await root.click("text=Vouch for this person");
    await root.fill("#password", "correct horse battery");
    await root.click("text=Take back what I gave");
    await root.waitForURL(base + who);
    assert.doesNotMatch(await root.textContent("main"), /root: may moderate/);
    root.trouble = root.trouble.filter((t) => !/422/.test(t));
    await ends(ann, root);
  });

  test("changing the password " + how, async () => {
    const ann = await as("ann", options);
    for (const [old, next] of [["correct horse battery", "another horse"], ["another horse", "correct horse battery"]]) {
      await ann.goto(base + "/settings");
      await ann.click("main >> text=Change password");
      await ann.fill("#old", old);
      await ann.fill("#password", next);
      await ann.fill("#again", next);
      await ann.click("main button.button");
      assert.match(await ann.textContent("h1"), /password is changed/);
    }
    await ends(ann);
  });

  test("administration: groups, accounts, the queue " + how, async () => {
    const root = await as("root", options), guest = await open(options);
    await root.goto(base + "/");
    await root.click(".me >> text=Administration");
    assert.equal(await root.locator("svg.chart").count(), 3);
    assert.match(await root.textContent("main"), /Articles an hour/);
    await root.click(".tabs >> text=Groups");
    const name = "test." + (javaScriptEnabled ? "script" : "plain");
    await root.fill("#name", name);
    await root.fill("#description", "moderated <b>");
    await root.fill("#moderator", "root@box.test.example");
    await root.click("main button.button");
    await root.waitForURL(base + "/admin/groups?done=1");
    assert.match(await root.textContent("main"), new RegExp(name.replace(".", "\\.")));
    await guest.goto(base + "/g/" + name + "/post");
    await guest.fill("#name", "Gast");
    await guest.fill("#subject", "Please " + how);
    await guest.fill("#body", "let me in");
    await guest.click("form.write button.button");
    await guest.waitForSelector("h1:has-text('waits for a moderator')");
    await root.goto(base + "/moderate");
    await root.locator("article", { hasText: "Please " + how }).locator("text=Approve").click();
    await root.goto(base + "/g/" + name);
    assert.match(await root.textContent("main"), new RegExp("Please " + how));
    await root.goto(base + "/admin/accounts");
    const eve = root.locator("li", { hasText: "eve" });
    await eve.locator("summary", { hasText: "Bar" }).click();
    await eve.locator("[name=reason]").fill("rude " + how);
    await turned(root, eve.locator("button", { hasText: "Bar" }));
    assert.match(await eve.textContent(), /Barred: rude/);
    await turned(root, eve.locator("button", { hasText: "Lift" }));
    assert.doesNotMatch(await eve.textContent(), /Barred/);
    await ends(root, guest);
  });

  test("administration: peers, feeds, torrents, quotas " + how, async () => {
    const root = await as("root", options);
    const act = async (button) => {
      await turned(root, button);
      assert.equal(await root.textContent("[role=status]"), "Done.");
    };
    const row = (text) => root.locator(".hits > li", { hasText: text });
    await root.goto(base + "/admin");
    await root.click(".tabs >> text=Peers");
    await act(row("filed.example").locator("text=Pause"));
    assert.match(await row("filed.example").textContent(), /paused/);
    await act(row("filed.example").locator("text=Go on"));
    await root.fill("#name", "north.example");
    await root.fill("#address", "127.0.0.1:1");
    await root.fill("#take", "mesh.*");
    await root.fill("#share", "20");
    await act(root.locator("#form button.button"));
    assert.match(await row("north.example").textContent(), /taken: mesh\.\*/);
    await row("north.example").locator("text=Edit").click();
    assert.equal(await root.inputValue("#share"), "20");
    await root.fill("#articles", "5");
    await act(root.locator("#form button.button"));
    assert.match(await row("north.example").textContent(), /0 of 5 articles/);
    await row("north.example").locator("summary").click();
    await act(row("north.example").locator("button", { hasText: "Remove" }));
    assert.equal(await row("north.example").count(), 0);
    await root.fill("#i-address", "127.0.0.1:1");
    await turned(root, root.locator("text=Make a code"));
    const code = (await root.textContent(".words")).trim();
    assert.match(code, /^litfass1\./);
    await root.goto(base + "/admin/peers");
    await root.fill("#code", code);
    await turned(root, root.locator("section button:text-is('Join')"));
    assert.match(await root.textContent("[role=alert]"), /box\.test\.example/);
    assert.equal(await root.inputValue("#code"), code);
    await act(root.locator("text=End all unused invitations"));

    await root.click(".tabs >> text=Feeds");
    await root.fill("#url", process.env.FEED);
    await root.fill("#group", "local.general");
    await act(root.locator("main button.button"));
    const feed = row("Dorfblatt");
    assert.match(await feed.textContent(), /in order/);
    await act(feed.locator("text=Pause"));
    assert.match(await feed.textContent(), /paused/);
    await act(feed.locator("text=Ask now"));
    await feed.locator("summary").click();
    await act(feed.locator("button", { hasText: "Remove" }));
    assert.equal(await feed.count(), 0);

    await root.click(".tabs >> text=Torrents");
    const film = row("hostile.rnews");
    assert.match(await film.textContent(), /pinned/);
    await act(film.locator("text=Keep no longer than needed"));
    await act(film.locator("text=Keep for good"));
    await film.locator("a[href^='/t/']").click();
    for (const [link, name] of [[".torrent", /^hostile.rnews.torrent$/], ["Metalink", /[.]meta4$/], ["hostile.rnews", /^hostile.rnews$/]]) {
      const saved = root.waitForEvent("download"); // a sandboxed page saves nothing, unless it may
      await root.locator("a", { hasText: link }).last().click();
      assert.match((await saved).suggestedFilename(), name);
    }
    await root.goto(base + "/admin/torrents");
    await root.fill("#hash", "0123456789abcdef0123456789abcdef01234567");
    await root.fill("#reason", "unlawful " + how);
    await act(root.locator("main button.button"));
    await root.goto(base + "/log");
    assert.match(await root.textContent("main"), new RegExp("file barred.*unlawful " + how));
    await root.goto(base + "/admin/torrents");
    await act(row("unlawful " + how).locator("text=Lift it"));
    assert.equal(await row("unlawful " + how).count(), 0);

    await root.click(".tabs >> text=Accounts");
    const eve = row("eve");
    await eve.locator("summary", { hasText: "Change" }).click();
    await eve.locator("[name=articles]").fill("9");
    await eve.locator("[name=size]").fill("2MiB");
    await act(eve.locator("button", { hasText: "Save" }));
    assert.match(await eve.textContent(), /of 9 articles, .* of 2MiB/);
    root.trouble = root.trouble.filter((t) => !/422/.test(t));
    await ends(root);
  });
}

test("the first account of a fresh node", async () => {
  const page = await open({ javaScriptEnabled: false });
  page.trouble = [];
  await page.goto(fresh + "/");
  await page.click("text=Make the first one");
  await page.fill("#name", "first");
  await page.fill("#password", "short");
  await page.fill("#password", "long enough for this");
  await page.click("main button.button");
  assert.equal((await page.textContent(".words")).trim().split(/\s+/).length, 24);
  await page.click("text=To the groups");
  await page.click(".me >> text=Administration");
  assert.match(await page.textContent("h1"), /Status/);
  const stranger = await open();
  assert.equal(await status(stranger, fresh + "/start"), 404);
  await stranger.context().close();
  await page.context().close();
});

const adminPages = async (root) => {
  const bad = await write(await open({ javaScriptEnabled: false }), "Reported", "text");
  const path = new URL(bad).pathname;
  const guest = await open({ javaScriptEnabled: false });
  await guest.goto(base + path + "/report");
  await guest.fill("#reason", "Donaudampfschifffahrtsgesellschaftskapitänsmützenfabrikantenverband");
  await guest.click("main button.button");
  await guest.context().close();
  const ann = await as("ann", { javaScriptEnabled: false });
  const who = await person(ann, await write(ann, "Mine", "text", { name: null }));
  await ann.context().close();
  await root.goto(base + "/");
  return ["/admin", "/admin/groups", "/admin/groups?name=test.hostile", "/admin/accounts", "/admin/peers", "/admin/peers?name=filed.example", "/admin/feeds", "/admin/torrents", "/log", "/moderate", path, path + "/report", path + "/hide", who, who + "vouch", who + "ban", "/password", "/mail", "/mine", "/help", "/settings", "/search?q=after:nonsense", "/u/" + "a".repeat(52) + "/", "/nothing", "/g/not.here", "/m/not@here", "/g/test.hostile/t/not@here"];
};

// guestPages are what only those see who are not logged in, or may not.
const guestPages = ["/", "/login", "/start", "/admin", "/moderate", "/mine", "/g/test.hostile/post", "/g/local.general?order=unread", "/mail/leave?t=gone", "/mail/decide?t=gone", "/?programs=1"];

for (const [locale, colorScheme, width] of [["en-GB", "light", 1280], ["de-DE", "dark", 320]])
  test(`axe-core, html-validate and width find nothing in ${locale}, ${colorScheme}, at ${width} px`, async () => {
    const root = await as("root", { locale, colorScheme, viewport: { width, height: 800 }, bypassCSP: true });
    const trouble = [];
    const guest = await open({ locale, colorScheme, viewport: { width, height: 800 }, bypassCSP: true });
    for (const [page, p] of [...(await adminPages(root)).map((p) => [root, p]), ...guestPages.map((p) => [guest, p])]) {
      await page.goto(base + p);
      assert.equal(await page.getAttribute("html", "lang"), locale.slice(0, 2));
      await page.evaluate(() => document.querySelectorAll("main details").forEach((d) => (d.open = true)));
      trouble.push(...(await findings(page, p)), ...(await tight(page)).map((x) => [p, x]));
      assert.doesNotMatch(await page.textContent("body"), /(?<![\w.])(admin|peer|feed|torrent|torrents|account|log|ban|hide|vouch|person|standing|right|chart|group|report|reason|password|mail|error)\.[a-z]+(\.[a-z]+)?\b(?!\.example)/, p);
    }
    assert.deepEqual(trouble, []);
    await root.context().close();
    await guest.context().close();
  });

test("axe-core, html-validate and width find nothing on the pages that mails lead to", async () => {
  const { LEAVE: leave, DECIDE: decide, SHOTS: shots } = process.env;
  for (const [locale, colorScheme, width] of [["en-GB", "light", 1280], ["de-DE", "light", 1280], ["de-DE", "dark", 320]]) {
    const page = await open({ locale, colorScheme, viewport: { width, height: 800 }, bypassCSP: true });
    const check = async (what, url) => {
      assert.equal(await page.getAttribute("html", "lang"), locale.slice(0, 2));
      assert.notEqual(await page.title(), "owned", what);
      if (shots) await page.screenshot({ path: `${shots}/${what}-${locale}-${colorScheme}-${width}.png`, fullPage: true });
      assert.deepEqual([...(await findings(page, url)), ...(await tight(page))], [], what);
    };
    for (const [what, url] of [["leave", leave], ["decide", decide]]) {
      assert.equal((await page.goto(url)).status(), 200);
      assert.ok(await page.locator("main form button").count(), what);
      await check(what, url);
    }
    if (width === 320) { // the last: the buttons are pressed
      await turned(page, page.locator("main button[value=reject]"));
      assert.match(await page.textContent("main"), /abgelehnt/);
      await check("decided", decide);
      await page.goto(leave);
      await turned(page, page.locator("main form button"));
      assert.match(await page.textContent("main"), /nicht mehr an/);
      await check("left", leave);
    }
    assert.deepEqual(page.trouble.filter((t) => !t.startsWith("asks " + new URL(leave).origin)), []);
    await page.context().close();
  }
});

test("hostile articles are inert", async () => {
  const page = await as("root");
  await page.goto(base + "/g/test.hostile");
  const seen = new Set(["/", "/g/test.hostile", "/search?q=html", "/g/test.hostile/post", "/admin/groups", "/admin/groups?name=test.hostile"]);
  for (;;) {
    for (const a of await page.locator("main a").all()) {
      const href = await a.getAttribute("href");
      if (href && /^\/(g\/test.hostile\/t|m)\//.test(href)) seen.add(href.split("#")[0]);
    }
    const next = page.locator(".pager a[rel=next]");
    if (!(await next.count())) break;
    await next.first().click();
  }
  for (const p of [...seen]) if (p.includes("/t/")) seen.add(p.split("?")[0] + "?view=nested"), seen.add("/m/" + p.split("/t/")[1].split("?")[0]), seen.add("/m/" + p.split("/t/")[1].split("?")[0] + "/reply");
  assert.ok(seen.size > 40, "only " + seen.size);
  for (const p of seen) {
    const res = await page.goto(base + p);
    assert.ok(res.status() < 500, p);
    assert.notEqual(await page.title(), "owned", p);
    for (const a of await page.locator("ul.files a[download][href^='/']").all()) {
      const file = await page.request.get(new URL(await a.getAttribute("href"), base).href);
      assert.match(file.headers()["content-security-policy"], /sandbox/);
      assert.doesNotMatch(file.headers()["content-type"], /html|svg|xml|script/);
    }
    assert.equal(await page.locator("main iframe, main object, main embed, main base, main script, main style, main form[action^='http']").count(), 0, p);
  }
  await ends(page);
});
