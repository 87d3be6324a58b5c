//go:build interop

package browser

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/test/nodebox"
)

// mean reads payloads.json: what tries to get out of the place it is put in. A page on
// which one of them ran has the title "owned", asked evil.example, or showed a dialog.
func mean(t *testing.T) (out []string) {
	t.Helper()
	b, err := os.ReadFile("payloads.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// line is a payload for a place that is one line of plain text.
func line(p string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, p)
}

// head begins an article whose header carries a payload.
func head(kind string, i int, p string) string {
	word := "=?utf-8?q?" + quoted(line(p)) + "?="
	return fmt.Sprintf("Path: x!not-for-mail\nFrom: %s <eve%d@evil.example>\nNewsgroups: test.mean\nSubject: %s\nDate: %s\nMessage-ID: <%s%d@evil.example>\nReferences: <none\"onclick=\"x%d@evil.example>\nOrganization: %s\nUser-Agent: %s\nKeywords: %s\nMIME-Version: 1.0\n",
		word, i, word, time.Now().Add(-time.Hour).UTC().Format("Mon, 02 Jan 2006 15:04:05 +0000"), kind, i, i, line(p), word, line(p))
}

// files are what a browser would run if it were told, or guessed, what it is.
var files = [...][3]string{
	{"text/html", "page.html", "%s"}, {"image/svg+xml", "picture.svg", `<svg xmlns="http://www.w3.org/2000/svg" onload="document.title='owned'"><script>document.title='owned'</script>%s</svg>`},
	{"application/xhtml+xml", "page.xhtml", `<html xmlns="http://www.w3.org/1999/xhtml"><script>document.title='owned'</script></html>`},
	{"text/xml", "page.xml", `<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="#x"?><html xmlns="http://www.w3.org/1999/xhtml"><script>document.title='owned'</script></html>`},
	{"application/pdf", "page.pdf", "%%PDF-1.4 <script>document.title='owned'</script>"}, {"text/plain", "page.txt", "<html><script>document.title='owned'</script>%s"},
	{"image/png", "page.png", "<html><script>document.title='owned'</script>%s"}, {"image/png; x=text/html", "two.png", "<html><script>document.title='owned'</script>"},
	{"text/javascript", "page.js", "document.title='owned'"}, {"text/css", "page.css", "*{display:none}"}, {"multipart/x-mixed-replace", "page.mht", "<script>document.title='owned'</script>"},
	{"audio/mpeg", "page.mp3", "<html><script>document.title='owned'</script>"}, {"application/octet-stream", "page.hta", "<html><script>document.title='owned'</script>"},
	{"unknown/unknown", "page", "<html><script>document.title='owned'</script>"}, {"text/html\"; charset=\"><script>document.title='owned'</script>", "x.htm", "%s"},
}

// parts carries a payload as text, as HTML and as files, under its own name too.
func parts(i int, p string) string {
	var b strings.Builder
	b.WriteString(head("parts", i, p) + "Content-Type: multipart/mixed; boundary=\"b\"\n\n")
	part := func(typ, disposition, body string) {
		fmt.Fprintf(&b, "--b\nContent-Type: %s\n%sContent-Transfer-Encoding: base64\n\n%s\n", typ, disposition, base64.StdEncoding.EncodeToString([]byte(body)))
	}
	part("text/plain; charset=utf-8", "", p+"\n> "+p+"\n>> "+p+"\n-- \n"+p)
	part("text/html; charset=utf-8", "", "<p>before</p>"+p+"<p>after")
	f := files[i%len(files)]
	body := strings.ReplaceAll(f[2], "%s", p)
	part(f[0], "Content-Disposition: attachment; filename=\""+f[1]+"\"\n", body)
	part(f[0], "Content-Disposition: inline; filename*=utf-8''"+percent(p)+"\nContent-ID: <"+percent(p)+"@x>\n", body)
	part("image/png; name=\"=?utf-8?q?"+quoted(p)+"?=\"", "", body)
	b.WriteString("--b--\n")
	return b.String()
}

// charset puts a payload into HTML that claims to be in another character set.
func charset(i int, p string) string {
	sets := [...]string{"utf-7", "utf-16le", "iso-2022-jp", "shift_jis", "gb18030", "hz-gb-2312", "x-user-defined", "us-ascii\\\"><script>document.title='owned'</script>", "windows-1252", "big5", "euc-kr", "ibm037"}
	return head("charset", i, p) + "Content-Type: text/html; charset=\"" + sets[i%len(sets)] + "\"\nContent-Transfer-Encoding: base64\n\n" +
		base64.StdEncoding.EncodeToString([]byte(p+"\x81\"<p title=\"\x81\">"+p+"+ADw-img src=x onerror=document.title='owned'+AD4-")) + "\n"
}

// plain puts a payload where text has a form of its own: flowed lines, a patch, names of
// files in uuencode and yEnc, quotes, a signature.
func plain(i int, p string) string {
	p = line(p)
	return head("plain", i, p) + "Content-Type: text/plain; charset=utf-8; format=flowed; delsp=yes\nContent-Transfer-Encoding: 8bit\n\n" +
		p + " \n" + p + " \n>" + p + " \n>> " + p + "\n> > >" + p + "\n\ndiff --git a/" + p + " b/" + p + "\n--- a/" + p + "\n+++ b/" + p + "\n@@ -1 +1 @@ " + p + "\n-" + p + "\n+" + p + "\n\n" +
		"begin 644 " + p + "\n#0V%T\n`\nend\n\n=ybegin line=128 size=3 name=" + p + "\n\x6d\x8b\x9e\n=yend size=3\n\n-- \n" + p + "\n"
}

// TestHostile runs hostile.test.mjs on a node whose articles, feed, group's description
// and forms carry the payloads.
func TestHostile(t *testing.T) {
	need(t, "chromium", "chromium")
	need(t, "node", "nodejs")
	if _, err := os.Stat("node_modules"); err != nil {
		t.Skip("node_modules is missing: npm ci in test/browser")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
	defer cancel()
	bin, err := nodebox.Build(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := newBox(t, bin)
	payloads := mean(t)
	var batch strings.Builder
	for i, p := range payloads {
		for _, a := range []string{parts(i, p), charset(i, p), plain(i, p)} {
			fmt.Fprintf(&batch, "#! rnews %d\n%s", len(a), a)
		}
	}
	file := filepath.Join(t.TempDir(), "mean.rnews")
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	b.run("", "group", "add", "test.mean", "--description", line(payloads[0]))
	for i, p := range payloads {
		b.run("", "group", "add", fmt.Sprintf("test.mean.g%d", i), "--description", line(p))
	}
	b.run("", "import", file)
	feed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<rss version="2.0"><channel><title>Mean</title>`)
		for i, p := range payloads {
			var s strings.Builder
			_ = xml.EscapeText(&s, []byte(p))
			fmt.Fprintf(w, `<item><guid isPermaLink="false">%d</guid><title>%s</title><author>%[2]s</author><link>%[2]s</link><description>%[2]s</description><enclosure url="%[2]s" type="text/html" length="1"/></item>`, i, s.String())
		}
		fmt.Fprint(w, `</channel></rss>`)
	}))
	defer feed.Close()
	b.run("", "group", "add", "test.meanfeed")
	b.run("", "feed", "add", feed.URL+"/", "test.meanfeed")
	b.serve("")
	b.run("", "feed", "fetch", feed.URL+"/")
	b.run("", "status", "--wait", "2m")
	cmd := exec.CommandContext(ctx, "node", "--test", "--test-concurrency=1", "--test-reporter=spec", "hostile.test.mjs")
	cmd.Env = append(os.Environ(), "BASE=http://"+b.web)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
