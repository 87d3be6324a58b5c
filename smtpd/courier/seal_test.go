package courier

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
)

// published is what the DNS says of a key.
func published(t testing.TB, key crypto.Signer) func(string) ([]string, error) {
	t.Helper()
	kind, der := "ed25519", []byte(nil)
	if pub, ok := key.Public().(ed25519.PublicKey); ok {
		der = pub
	} else {
		var err error
		kind = "rsa"
		if der, err = x509.MarshalPKIXPublicKey(key.Public()); err != nil {
			t.Fatal(err)
		}
	}
	return func(string) ([]string, error) {
		return []string{"v=DKIM1; k=" + kind + "; p=" + base64.StdEncoding.EncodeToString(der)}, nil
	}
}

// FuzzSeal: whatever a letter holds, go-msgauth says that each subscriber's copy is
// signed, and that a changed one is not.
func FuzzSeal(f *testing.F) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 1024) // fast; what is signed is the same
	if err != nil {
		f.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("From: A  <a@a.example>\r\nSubject:\tx \r\n\t y  z \r\nTo : b\r\nX: 1\r\n", "Hallo  \t\r\n\r\n .dot \r\n\r\n \r\n")
	f.Add("From: a@a.example\r\nFrom: b@b.example\r\nSubject:\r\n", "")
	f.Add("From: a@a.example\r\nsubject: Gr\xfc\xdfe\r\nList-Id: <x>\r\n", "\r\n\r\n")
	f.Add("From: a@a.example\r\n", " no end of line")
	f.Fuzz(func(t *testing.T, head, body string) {
		head, body = plausible(head), strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(body, "\r", ""), "\x00", ""), "\n", "\r\n")
		for _, key := range []crypto.Signer{rsaKey, edKey} {
			c := New(Config{Domain: "box.example", DKIM: Seal{key, "s"}, URL: "http://box.example", Now: time.Now})
			l := letter{head: []byte(head), body: []byte(body)}
			for _, token := range []string{"one", "two"} {
				mail, err := c.finish(&l, c.leaveFields(token))
				if err != nil {
					t.Fatal(err)
				}
				raw, _ := io.ReadAll(mail)
				check := func(raw []byte) error {
					v, err := dkim.VerifyWithOptions(bytes.NewReader(raw), &dkim.VerifyOptions{LookupTXT: published(t, key)})
					if err != nil || len(v) != 1 {
						t.Fatalf("%v %v:\n%q", v, err, raw)
					}
					return v[0].Err
				}
				if err := check(raw); err != nil {
					t.Fatalf("%v:\n%q", err, raw)
				}
				if check(bytes.Replace(raw, []byte("t="+token), []byte("t=mallory"), 1)) == nil || check(append(raw, "more\r\n"...)) == nil {
					t.Fatalf("a changed mail holds:\n%q", raw)
				}
			}
		}
	})
}

// TestBothSeals: with two keys RSA signs once what all subscribers get alike, Ed25519
// each mail with its way out; each holds by itself.
func TestBothSeals(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := New(Config{Domain: "box.example", DKIM: Seal{edKey, "ed"}, Common: Seal{rsaKey, "rsa"}, URL: "http://box.example", Now: time.Now})
	txt := func(name string) ([]string, error) {
		if strings.HasPrefix(name, "rsa.") {
			return published(t, rsaKey)(name)
		}
		return published(t, edKey)(name)
	}
	verify := func(raw []byte) (ed, rsa *dkim.Verification) {
		v, err := dkim.VerifyWithOptions(bytes.NewReader(raw), &dkim.VerifyOptions{LookupTXT: txt})
		if err != nil || len(v) != 2 {
			t.Fatalf("%v %v:\n%s", v, err, raw)
		}
		if slices.Contains(v[0].HeaderKeys, "List-Unsubscribe") {
			return v[0], v[1]
		}
		return v[1], v[0]
	}
	commons := map[string]bool{}
	for range 2 { // two rows of one letter
		l := letter{head: []byte("From: a@box.example\r\nSubject: x\r\n"), body: []byte("Hallo\r\n")}
		for _, token := range []string{"one", "two"} {
			mail, err := c.finish(&l, c.leaveFields(token))
			if err != nil {
				t.Fatal(err)
			}
			raw, _ := io.ReadAll(mail)
			commons[l.seal.common] = true
			if ed, rsa := verify(raw); ed.Err != nil || rsa.Err != nil || !slices.Contains(ed.HeaderKeys, "List-Unsubscribe-Post") || slices.Contains(rsa.HeaderKeys, "List-Unsubscribe") {
				t.Errorf("%+v %+v", ed, rsa)
			}
			if ed, rsa := verify(bytes.Replace(raw, []byte("t="+token), []byte("t=mallory"), 1)); ed.Err == nil || rsa.Err != nil {
				t.Errorf("another way out: %+v %+v", ed, rsa)
			}
			if ed, rsa := verify(append(raw, "more\r\n"...)); ed.Err == nil || rsa.Err == nil {
				t.Errorf("another text: %+v %+v", ed, rsa)
			}
		}
	}
	if len(commons) != 1 {
		t.Errorf("%d RSA operations for one letter", len(commons))
	}
}

// plausible makes a header of any text: From, and lines that are fields or folds.
func plausible(s string) string {
	out := "From: a@a.example\r\n"
	for line := range strings.SplitSeq(strings.ReplaceAll(strings.ReplaceAll(s, "\r", ""), "\x00", ""), "\n") {
		name, _, ok := strings.Cut(line, ":")
		name = strings.TrimRight(name, " \t")
		field := ok && name != "" && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz-") == "" && !strings.EqualFold(name, "DKIM-Signature")
		fold := line != "" && (line[0] == ' ' || line[0] == '\t') && strings.TrimSpace(line) != ""
		if field || fold {
			out += line + "\r\n"
		}
	}
	return out
}
