//go:build interop

package browser

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/test/nodebox"
)

// node runs a litfass with a forum and returns its address.
func node(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	dir := t.TempDir()
	bin, err := nodebox.Build(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	web, err := nodebox.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "litfass.toml")
	text := fmt.Sprintf("host = \"box.test.example\"\ndata = \"data\"\n[nntp]\nlisten = []\n[smtp]\nlisten = []\n[http]\nlisten = [%q]\nproxies = [\"127.0.0.0/8\"]\n[torrent]\nlisten = \"\"\n", web)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ann", "bob"} {
		add := exec.CommandContext(ctx, bin, "--config", conf, "user", "add", name, "--email", name+"@box.test.example", "--password-stdin")
		add.Stdin = strings.NewReader("correct horse battery\n")
		if out, err := add.CombinedOutput(); err != nil {
			t.Fatalf("user add: %v: %s", err, out)
		}
	}
	var log bytes.Buffer
	serve := exec.Command(bin, "--config", conf, "serve")
	serve.Stdout, serve.Stderr = &log, &log
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = serve.Process.Signal(os.Interrupt)
		_ = serve.Wait()
		if t.Failed() {
			t.Logf("the node said:\n%s", log.String())
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if res, err := http.Get("http://" + web + "/"); err == nil {
			res.Body.Close()
			return "http://" + web
		}
		if time.Now().After(deadline) {
			t.Fatalf("the node does not answer:\n%s", log.String())
		}
	}
}

func need(t *testing.T, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is missing: apt-get install %s", program, pkg)
	}
	return path
}

// TestChromium runs forum and reading.test.mjs: every flow with and without script, by keyboard,
// at 320 pixels, with axe-core and html-validate.
func TestChromium(t *testing.T) {
	need(t, "chromium", "chromium")
	need(t, "node", "nodejs")
	if _, err := os.Stat("node_modules"); err != nil {
		t.Skip("node_modules is missing: npm ci in test/browser")
	}
	base := node(t)
	files := []string{"forum.test.mjs", "reading.test.mjs"} // trust.test.mjs wants a node of its own: TestTrust
	cmd := exec.Command("node", append([]string{"--test", "--test-concurrency=1", "--test-reporter=spec"}, files...)...)
	cmd.Env = append(os.Environ(), "BASE="+base)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

func text(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "LANG=C.UTF-8", "TERM=dumb")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", program, err, out)
	}
	return string(out)
}

// TestW3m reads with w3m, and posts with it a form as w3m sends it.
func TestW3m(t *testing.T) {
	w3m := need(t, "w3m", "w3m")
	base := node(t)
	body := filepath.Join(t.TempDir(), "form")
	form := url.Values{"name": {"Walter"}, "subject": {"Aus w3m"}, "body": {"Grüße vom Terminal"}}
	if err := os.WriteFile(body, []byte(form.Encode()), 0o600); err != nil {
		t.Fatal(err)
	}
	front := text(t, w3m, "-dump", base+"/")
	if !strings.Contains(front, "local.general") {
		t.Errorf("front page: %s", front)
	}
	out := text(t, w3m, "-dump", "-post", body, base+"/g/local.general/post")
	if !strings.Contains(out, "Grüße vom Terminal") || !strings.Contains(out, "Walter") {
		t.Errorf("after posting: %s", out)
	}
	list := text(t, w3m, "-dump", base+"/g/local.general")
	if !strings.Contains(list, "Aus w3m") {
		t.Errorf("list: %s", list)
	}
	// the small form at the end of a thread leads back to it
	res, err := http.Get(base + "/g/local.general")
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`href="(/g/local.general/t/([^"]+))" dir="auto">Aus w3m<`).FindStringSubmatch(string(page))
	if m == nil {
		t.Fatalf("no thread in %s", page)
	}
	form = url.Values{"back": {"thread"}, "hinted": {"1"}, "name": {"Walter"}, "body": {"Und eine Antwort"}}
	if err := os.WriteFile(body, []byte(form.Encode()), 0o600); err != nil {
		t.Fatal(err)
	}
	thread := text(t, w3m, "-dump", "-post", body, base+"/m/"+m[2]+"/reply")
	if !strings.Contains(thread, "Grüße vom Terminal") || !strings.Contains(thread, "Und eine Antwort") {
		t.Errorf("thread after answering: %s", thread)
	}
}

// TestLynx reads with lynx, and posts with it.
func TestLynx(t *testing.T) {
	lynx := need(t, "lynx", "lynx")
	base := node(t)
	post := exec.Command(lynx, "-dump", "-post_data", base+"/g/local.general/post")
	post.Env = append(os.Environ(), "HOME="+t.TempDir(), "LANG=C.UTF-8", "TERM=dumb")
	post.Stdin = strings.NewReader("name=Lina&subject=Aus+lynx&body=Text+aus+lynx\n---\n")
	if out, err := post.CombinedOutput(); err != nil || !strings.Contains(string(out), "Text aus lynx") {
		t.Errorf("after posting: %v %s", err, out)
	}
	out := text(t, lynx, "-dump", "-nolist", base+"/g/local.general")
	if !strings.Contains(out, "Aus lynx") {
		t.Errorf("list: %s", out)
	}
}

// TestNothingLeaves looks for addresses of other hosts that a page would load.
func TestNothingLeaves(t *testing.T) {
	base := node(t)
	loads := regexp.MustCompile(`(?:src|action|srcset|poster)="(?:https?:)?//[^"]*"|<link[^>]+href="(?:https?:)?//[^"]*"|url\(`)
	for _, p := range []string{"/", "/g/local.general", "/g/local.general/post", "/login", "/settings", "/help", "/search?q=x"} {
		res, err := http.Get(base + p)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if m := loads.Find(b); m != nil || err != nil {
			t.Errorf("%s loads %s %v", p, m, err)
		}
	}
}
