//go:build interop

package browser

import (
	"bytes"
	"context"
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

// box is a node whose data can be prepared before it serves.
type box struct {
	t         *testing.T
	bin, conf string
	web       string
}

func newBox(t *testing.T, bin string) *box {
	t.Helper()
	web, err := nodebox.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	b := &box{t, bin, filepath.Join(t.TempDir(), "litfass.toml"), web}
	text := fmt.Sprintf("host = \"box.test.example\"\ndata = \"data\"\n[nntp]\nlisten = []\n[smtp]\nlisten = []\n[http]\nlisten = [%q]\n[torrent]\nlisten = \"\"\n[feeds]\nallow = [\"127.0.0.0/8\"]\n[[peer]]\nname = \"filed.example\"\n", web)
	if err := os.WriteFile(b.conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *box) run(stdin string, args ...string) {
	b.t.Helper()
	cmd := exec.Command(b.bin, append([]string{"--config", b.conf}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("%v: %v: %s", args, err, out)
	}
}

// serve runs the node, its clock shifted, until the test or stop ends it.
func (b *box) serve(shift string) (stop func()) {
	b.t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(b.bin, "--config", b.conf, "serve")
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Env = append(os.Environ(), "LITFASS_CLOCK_OFFSET="+shift)
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	ended := false
	stop = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Signal(os.Interrupt)
			_ = cmd.Wait()
		}
	}
	b.t.Cleanup(func() {
		stop()
		if b.t.Failed() {
			b.t.Logf("the node said:\n%s", log.String())
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if res, err := http.Get("http://" + b.web + "/"); err == nil {
			res.Body.Close()
			return stop
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("the node does not answer:\n%s", log.String())
		}
	}
}

// payloads are ways to have a script run, by the place they are written for; the
// title of a page that ran one is "owned".
var payloads = []string{
	`<script>document.title='owned'</script>`, `"><img src=x onerror="document.title='owned'">`, `<svg onload=document.title='owned'>`,
	`javascript:document.title='owned'`, `'-document.title='owned'-'`, `<iframe srcdoc="<script>parent.document.title='owned'</script>">`,
	`</textarea></title></style><script>document.title='owned'</script>`, `<a href="jAvAsCrIpT:document.title='owned'">x</a>`,
	`<img src="https://evil.example/x.png">`, `<style>@import 'https://evil.example/x.css';</style>`, `<form action="https://evil.example/"><button>x</button></form>`,
	`{{.}}${7*7}<%= 7 %>`, `<math><mtext><table><mglyph><style><img src=x onerror=document.title='owned'>`, "\u202e<b>gnp.txt", `<base href="https://evil.example/">`, `<meta http-equiv="refresh" content="0;url=https://evil.example/">`,
}

// hostile are articles that carry each payload in its subject, its author's name,
// its text, as HTML, and as the name of an attachment.
func hostile() string {
	var out strings.Builder
	for i, p := range payloads {
		word := "=?utf-8?q?" + quoted(p) + "?="
		text := fmt.Sprintf("Path: x!not-for-mail\nFrom: %s <eve%d@evil.example>\nNewsgroups: test.hostile\nSubject: %s\nDate: %s\nMessage-ID: <hostile%d@evil.example>\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b\"\n\n"+
			"--b\nContent-Type: text/plain; charset=utf-8\n\n%s\n> %s\nhttp://x.example/%s\n--b\nContent-Type: text/html; charset=utf-8\n\n<p>html</p>%s\n--b\nContent-Type: text/html; name=\"%s\"\nContent-Disposition: attachment; filename*=utf-8''%s\n\n%s\n--b\nContent-Type: image/svg+xml; name=\"x.svg\"\n\n<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"document.title='owned'\"/>\n--b--\n",
			word, i, word, time.Now().Add(-time.Hour).UTC().Format("Mon, 02 Jan 2006 15:04:05 +0000"), i, p, p, p, p, strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(strings.ToValidUTF8(p, "")), percent(p), p)
		fmt.Fprintf(&out, "#! rnews %d\n%s", len(text), text)
	}
	return out.String()
}

func quoted(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "=%02X", c)
	}
	return b.String()
}

func percent(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// TestTrust runs trust.test.mjs: persons, moderation, administration, the first
// start, hostile articles, with and without script.
func TestTrust(t *testing.T) {
	need(t, "chromium", "chromium")
	need(t, "node", "nodejs")
	if _, err := os.Stat("node_modules"); err != nil {
		t.Skip("node_modules is missing: npm ci in test/browser")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	bin, err := nodebox.Build(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b, fresh := newBox(t, bin), newBox(t, bin)
	b.run("correct horse battery\n", "user", "add", "ann", "--email", "ann@box.test.example", "--password-stdin")
	b.run("correct horse battery\n", "user", "add", "root", "--admin", "--password-stdin")
	b.run("correct horse battery\n", "user", "add", "eve", "--password-stdin")
	b.run("", "group", "add", "test.hostile", "--description", payloads[1])
	file := filepath.Join(t.TempDir(), "hostile.rnews")
	if err := os.WriteFile(file, []byte(hostile()), 0o600); err != nil {
		t.Fatal(err)
	}
	b.run("", "import", file)
	b.run("", "torrent", "add", file)
	feed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<rss version="2.0"><channel><title>Dorfblatt</title><item><guid isPermaLink="false">1</guid><title>an entry</title><description>text</description></item></channel></rss>`)
	}))
	defer feed.Close()
	if more := os.Getenv("HOSTILE_ARTICLES"); more != "" { // a file or folder of further ones
		b.run("", "import", "--group", "test.hostile", more)
	}
	for _, shift := range []string{"-45m", "-30m", "-15m"} { // each start measures once, for the charts
		b.serve(shift)()
	}
	b.serve("")
	fresh.serve("")
	leave, decide := mailPages(t, bin)
	args := []string{"--test", "--test-concurrency=1", "--test-reporter=spec"}
	if only := os.Getenv("BROWSER_ONLY"); only != "" { // some of the tests, by name
		args = append(args, "--test-name-pattern="+only)
	}
	cmd := exec.Command("node", append(args, "trust.test.mjs")...)
	cmd.Env = append(os.Environ(), "BASE=http://"+b.web, "FRESH=http://"+fresh.web, "FEED="+feed.URL+"/", "LEAVE="+leave, "DECIDE="+decide)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
