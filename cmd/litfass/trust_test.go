//go:build !notorrent

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// says runs a command with a standard input and wants it to do what it says.
func (n testNode) says(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if code := run(context.Background(), append([]string{"--config", n.config}, args...), strings.NewReader(stdin), &out, &out, func(string) string { return "" }); code != 0 {
		t.Fatalf("%v: %d %s", args, code, out.String())
	}
	return out.String()
}

// postAs posts by NNTP, logged in.
func (n testNode) postAs(t *testing.T, account, id string) {
	t.Helper()
	said, err := play(n.nntp, "< 200...\n> AUTHINFO USER "+account+"\n< 381...\n> AUTHINFO PASS long enough\n< 281...\n> POST\n< 340...\n> From: "+account+" <x@a.example>\n> Newsgroups: mesh.talk\n> Subject: by "+account+"\n> Message-ID: <"+id+"@a.example>\n>\n> text\n> .\n< 240...\n")
	if err != nil {
		t.Fatal(said, err)
	}
}

// TestTrustInWords: each thing that a signature can be worth stands beside the name
// in words and with a sign, on pages of a real node.
func TestTrustInWords(t *testing.T) {
	a, b := startNode(t, "a", ""), startNode(t, "b", "")
	for _, name := range []string{"vera", "norma", "dora"} {
		a.says(t, "long enough\n", "user", "add", name, "--password-stdin")
	}
	b.says(t, "long enough\n", "user", "add", "ulla", "--password-stdin")
	ids := regexp.MustCompile(`(\w+)  id:([a-z2-7]{52})`)
	identity := map[string]string{}
	for _, m := range ids.FindAllStringSubmatch(a.says(t, "", "key", "show"), -1) {
		identity[m[1]] = m[2]
	}
	a.postAs(t, "vera", "verified")
	nntpPost(t, a.nntp, "From: guest <g@a.example>\r\nNewsgroups: mesh.talk\r\nSubject: gate\r\nMessage-ID: <gate@a.example>\r\n\r\ntext\r\n")
	b.postAs(t, "ulla", "unknown-key")
	_, foreign := httpGet(t, "http://"+b.http+"/m/unknown-key@a.example/raw")
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	batch := fmt.Sprintf("#! rnews %d\n%s", len(foreign), foreign)
	plain := "Path: old!not-for-mail\nFrom: nemo <n@x.example>\nNewsgroups: mesh.talk\nSubject: none\nDate: Mon, 02 Nov 2026 10:00:00 +0000\nMessage-ID: <none@a.example>\n\ntext\n"
	a.says(t, "", "import", file("in", batch+fmt.Sprintf("#! rnews %d\n%s", len(plain), plain)))
	a.says(t, "", "key", "revoke", "id:"+identity["norma"])
	a.postAs(t, "norma", "no-right")
	a.postAs(t, "dora", "disputed")
	device := regexp.MustCompile(`key:ed25519:\S+`).FindString(a.says(t, "", "key", "show", "dora"))
	a.says(t, "long enough\n", "key", "revoke", device, "--account", "dora", "--password-stdin", "--bad-since", "1h")
	changed := strings.Replace(string(foreign), "Subject: by", "Subject: xx", 1)
	changed = strings.Replace(changed, "unknown-key@", "invalid@", 1)
	a.says(t, "", "import", file("bad", fmt.Sprintf("#! rnews %d\n%s", len(changed), changed))) // from a peer it would be refused
	for id, want := range map[string][2]string{
		"verified": {"✓", "signed by .*vera"}, "gate": {"⇢", "via node a.example"}, "unknown-key": {"\\?", "signed, key unknown"}, "none": {"–", "unsigned"},
		"no-right": {"∅", "signed without the right"}, "disputed": {"≠", "disputed key"}, "invalid": {"✗", "signature does not hold"},
	} {
		_, page := httpGet(t, "http://"+a.http+"/m/"+id+"@a.example")
		if !regexp.MustCompile(`class="trust ` + id + `"[^>]*><span aria-hidden="true">` + want[0] + `</span> (<a[^>]*>)?` + want[1]).Match(page) {
			i := bytes.Index(page, []byte(`class="trust`))
			t.Errorf("%s: %s", id, page[max(0, i):min(len(page), max(0, i)+300)])
		}
	}
}
