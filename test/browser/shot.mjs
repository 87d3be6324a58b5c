// Pictures of pages: node shot.mjs OUT.png URL [WIDTH] [HEIGHT] [dark] [LANG] [full] [cookie=NAME:VALUE]
import { chromium } from "playwright-core";
const [out, url, width = "1280", height = "900", ...more] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const page = await browser.newPage({
  viewport: { width: +width, height: +height },
  colorScheme: more.includes("dark") ? "dark" : "light",
  locale: more.includes("de") ? "de-DE" : "en-GB",
  deviceScaleFactor: more.includes("hidpi") ? 2 : 1,
});
await page.goto(url);
await page.screenshot({ path: out, fullPage: more.includes("full") });
await browser.close();
