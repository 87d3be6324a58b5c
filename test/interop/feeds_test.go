//go:build interop

package interop

import (
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/test/nodebox"
)

// feedNode is a node whose pages and feeds are at url; it may poll loopback.
func feedNode(t *testing.T) (n *nodebox.Node, url string) {
	t.Helper()
	addr := freeAddr(t)
	n = mailNode(t, fmt.Sprintf("[smtp]\nlisten = []\n[feeds]\nallow = [\"127.0.0.0/8\"]\n[http]\nlisten = [%q]\n", addr))
	for i := 1; i <= 3; i++ {
		file := filepath.Join(n.Dir, "art")
		art := fmt.Sprintf("From: Jörg <j@mesh.example>\nNewsgroups: test.a\nSubject: article %d\nMessage-ID: <%d@mesh.example>\n"+
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\n\nGrüße & <b>tags</b> %d\n"+
			"--b\nContent-Type: audio/mpeg; name=talk.mp3\nContent-Disposition: attachment; filename=talk.mp3\n\nID3fake\n--b--\n", i, i, i)
		if err := os.WriteFile(file, []byte(art), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Run("post", file); err != nil {
			t.Fatal(err)
		}
	}
	return n, "http://" + addr
}

// TestFeedReaders: programs that read feeds read ours.
func TestFeedReaders(t *testing.T) {
	_, url := feedNode(t)
	for _, kind := range []string{"atom", "rss"} {
		t.Run("newsboat "+kind, func(t *testing.T) {
			newsboat := need(t, "newsboat", "newsboat")
			home := t.TempDir()
			for name, text := range map[string]string{"urls": url + "/g/test.a/feed." + kind + "\n", "config": "reload-threads 1\n"} {
				if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			args := []string{"-C", "config", "-u", "urls", "-c", "cache.db"}
			run(t, home, "", newsboat, append(args, "-x", "reload")...)
			if out := run(t, home, "", newsboat, append(args, "-x", "print-unread")...); !strings.HasPrefix(out, "3 unread") {
				t.Errorf("newsboat finds %q", out)
			}
			run(t, home, "", newsboat, append(args, "-x", "reload")...)
			if out := run(t, home, "", newsboat, append(args, "-x", "print-unread")...); !strings.HasPrefix(out, "3 unread") {
				t.Errorf("newsboat finds again %q: ids change", out)
			}
		})
	}
	t.Run("rss2email", func(t *testing.T) {
		r2e := need(t, "r2e", "rss2email")
		home := t.TempDir()
		box := filepath.Join(home, "Maildir")
		for _, d := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(box, d), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		conf := "[DEFAULT]\nfrom = r2e@b.example\nto = me@b.example\nemail-protocol = maildir\nmaildir-path = " + box + "\nmaildir-mailbox =\nhtml-mail = False\n"
		if err := os.WriteFile(filepath.Join(home, "r2e.cfg"), []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"-c", "r2e.cfg", "-d", "r2e.json"}
		run(t, home, "", r2e, append(args, "add", "talk", url+"/g/test.a/feed.atom")...)
		run(t, home, "", r2e, append(args, "run")...)
		run(t, home, "", r2e, append(args, "run")...) // nothing comes twice
		var mails []string
		_ = filepath.WalkDir(home, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.Contains(path, "/new/") {
				b, _ := os.ReadFile(path)
				mails = append(mails, string(b))
			}
			return nil
		})
		if len(mails) != 3 || !strings.Contains(strings.Join(mails, ""), "article 2") {
			t.Errorf("rss2email made %d mails", len(mails))
		}
	})
	t.Run("feedparser", func(t *testing.T) {
		need(t, "r2e", "rss2email") // which brings Python's feedparser
		for _, path := range []string{"/g/test.a/feed.atom", "/g/test.a/feed.rss", "/feed.atom", "/feed.rss"} {
			run(t, t.TempDir(), "", "/usr/bin/python3", "-c", strictFeed, url+path)
		}
	})
	t.Run("browser", func(t *testing.T) {
		chromium := need(t, "chromium", "chromium")
		dom := run(t, t.TempDir(), "", "sh", "-c", `exec "$0" "$@" 2>/dev/null`, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir="+t.TempDir(), "--dump-dom", url+"/g/test.a/feed.atom")
		for _, want := range []string{"article 3", "Jörg", "talk.mp3", "gt;tags&amp;amp;lt;/b"} {
			if !strings.Contains(dom, want) {
				t.Errorf("no %q in what the browser shows:\n%.1500s", want, dom)
			}
		}
		if strings.Contains(dom, "parsererror") {
			t.Errorf("the browser finds an error:\n%.1500s", dom)
		}
	})
}

// strictFeed fails on a feed that is not well-formed, or whose entries lack what RFC 4287
// and RSS 2.0 want.
const strictFeed = `
import feedparser, sys
d = feedparser.parse(sys.argv[1])
assert not d.bozo, d.bozo_exception
assert d.version in ("atom10", "rss20") and d.feed.title and d.feed.link and d.feed.updated_parsed, d.feed
assert [l for l in d.feed.links if l.rel == "self" and l.href == sys.argv[1]], d.feed.links
talk = [e for e in d.entries if e.title.startswith("article ")]
assert len(talk) == 3 and len({e.id for e in d.entries}) == len(d.entries), d.entries
for e in talk:
    assert ":" in e.id and e.link.startswith("http") and e.author == "Jörg" and e.published_parsed, e
    assert "&lt;b&gt;" in (e.content[0].value if "content" in e else e.summary), e
    f = [l for l in e.links if l.rel == "enclosure"]
    assert len(f) == 1 and f[0].type == "audio/mpeg" and int(f[0].length) == 7, e.links
`

const nginxConf = `daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr;
events {}
http {
  types { application/atom+xml atom; }
  access_log %[1]s/access.log;
  client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
  gzip on; gzip_types application/atom+xml; gzip_min_length 1;
  server {
    listen %[2]s;
    root %[1]s/www;
    location /moved { return 301 /news.atom; }
    location /found { return 302 /news.atom; }
    location /loop { return 302 /loop; }
    location /busy { add_header Retry-After 7200 always; return 429; }
    location /gone { return 410; }
    location /fault { return 500; }
    location /inside { return 302 http://127.0.0.1:1/; }
    location /file { return 302 file:///etc/passwd; }
    location /slow.atom { gzip off; limit_rate 100; }
    location /lie.atom { gzip off; add_header Content-Encoding gzip; }
    location /short { proxy_pass http://%[3]s; }
    location /page { default_type text/html; return 200 "<html><head><link rel=alternate type=application/atom+xml href=/news.atom></head></html>"; }
  }
  server { listen %[4]s ssl; ssl_certificate %[1]s/selfmade.pem; ssl_certificate_key %[1]s/selfmade.pem; root %[1]s/www; }
  server { listen %[5]s ssl; ssl_certificate %[1]s/name.pem; ssl_certificate_key %[1]s/name.pem; root %[1]s/www; }
  server { listen %[6]s ssl; ssl_certificate %[1]s/expired.pem; ssl_certificate_key %[1]s/expired.pem; root %[1]s/www; }
}
`

// certificate writes a self-signed certificate for an address, good from hours from now
// to hours from now, and its key.
func certificate(t *testing.T, file, name string, from, to int) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	hour := func(n int) time.Time { return time.Now().Add(time.Duration(n) * time.Hour) }
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: hour(from), NotAfter: hour(to)}
	if ip := net.ParseIP(name); ip != nil {
		c.IPAddresses = []net.IP{ip}
	} else {
		c.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	priv, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: priv})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOrigin polls a real nginx: compressed, moved, unchanged, busy, slow, broken.
func TestOrigin(t *testing.T) {
	nginx := need(t, "nginx", "nginx-light")
	n, _ := feedNode(t)
	dir, err := os.MkdirTemp("", "litfass-nginx-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, d := range []string{"www"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	_ = os.Chmod(dir, 0o755)
	write := func(name, title string, extra int) {
		t.Helper()
		doc := `<feed xmlns="http://www.w3.org/2005/Atom"><title>Blatt</title>` +
			fmt.Sprintf(`<entry><id>urn:%s</id><title>%s</title><updated>2026-11-23T10:00:00Z</updated><link href="http://x.example/%s"/><content type="html">&lt;p&gt;Grüße&lt;/p&gt;%s</content></entry></feed>`,
				title, title, title, strings.Repeat(" x", extra))
		if err := os.WriteFile(filepath.Join(dir, "www", name), []byte(doc), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("news.atom", "erste", 500)
	write("slow.atom", "langsam", 5000)
	write("lie.atom", "gelogen", 10)
	addr, short := freeAddr(t), shortOrigin(t)
	tls := map[string]string{"selfmade": freeAddr(t), "name": freeAddr(t), "expired": freeAddr(t)}
	certificate(t, filepath.Join(dir, "selfmade.pem"), "127.0.0.1", -1, 1)
	certificate(t, filepath.Join(dir, "name.pem"), "other.example", -1, 1)
	certificate(t, filepath.Join(dir, "expired.pem"), "127.0.0.1", -2, -1)
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), fmt.Appendf(nil, nginxConf, dir, addr, short, tls["selfmade"], tls["name"], tls["expired"]), 0o644); err != nil {
		t.Fatal(err)
	}
	child(t, nil, nginx, "-c", filepath.Join(dir, "nginx.conf"), "-p", dir)
	eventually(t, "nginx listens", func() bool { c, err := net.Dial("tcp", addr); return err == nil && c.Close() == nil })
	origin := "http://" + addr

	for path, want := range map[string]string{"/busy": "429", "/gone": "410", "/fault": "500", "/loop": "redirects", "/file": "redirect", "/lie.atom": "gzip", "/short": "EOF", "/none": "404"} {
		if _, err := n.Run("feed", "add", origin+path, "test.a"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	for which, want := range map[string]string{"selfmade": "unknown authority", "name": "not valid for", "expired": "expired"} {
		_, err := n.Run("feed", "add", "https://"+tls[which]+"/news.atom", "test.a")
		if which == "name" && err != nil && strings.Contains(err.Error(), "doesn't contain any IP SANs") {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("certificate %s: %v, want %q", which, err, want)
		}
	}
	begin := time.Now()
	if _, err := n.Run("feed", "add", origin+"/slow.atom", "test.a"); err == nil || time.Since(begin) > 40*time.Second {
		t.Errorf("an answer of 100 octets a second: %v after %v", err, time.Since(begin))
	}
	for _, path := range []string{"/news.atom", "/moved", "/found"} {
		if _, err := n.Run("feed", "add", origin+path, "test.a"); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := n.Run("feed", "add", origin+"/page", "test.a"); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("the page names a feed that is polled: %v", err)
	}
	out, err := n.Run("export", "--group", "test.a")
	if err != nil || strings.Count(out, "Subject: erste\n") != 3 {
		t.Errorf("%v: entries in the group:\n%.2000s", err, out)
	}

	// nothing new: 304, with the validators of the first poll
	if _, err := n.Run("feed", "fetch", origin+"/news.atom"); err != nil {
		t.Error(err)
	}
	log, err := os.ReadFile(filepath.Join(dir, "access.log"))
	if err != nil || !strings.Contains(string(log), `"GET /news.atom HTTP/1.1" 304`) {
		t.Errorf("no 304 (%v):\n%s", err, log)
	}
	// news: the second poll brings it; the third move in a row is obeyed
	write("news.atom", "zweite", 300)
	for range 3 {
		if _, err := n.Run("feed", "fetch"); err != nil {
			t.Error(err)
		}
	}
	out, err = n.Run("export", "--group", "test.a")
	if err != nil || strings.Count(out, "Subject: zweite\n") != 3 {
		t.Errorf("%v: after news the group holds:\n%.2000s", err, out)
	}
	moved := func() int {
		log, _ := os.ReadFile(filepath.Join(dir, "access.log"))
		return strings.Count(string(log), "GET /moved ")
	}
	before := moved()
	if _, err := n.Run("feed", "fetch", origin+"/moved"); err != nil || moved() != before {
		t.Errorf("%v: the old address is asked still", err)
	}
	var list []struct{ URL, State string }
	out, err = n.Run("feed", "list", "--json")
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list) < 3 {
		t.Errorf("%v %s", err, out)
	}
}

// shortOrigin promises more octets than it sends.
func shortOrigin(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			_, _ = c.Read(make([]byte, 4096))
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Type: application/atom+xml\r\nContent-Encoding: gzip\r\nContent-Length: 5000\r\n\r\n")
			z := gzip.NewWriter(c)
			fmt.Fprint(z, "<feed>")
			_ = z.Flush()
			c.Close()
		}
	}()
	return l.Addr().String()
}
