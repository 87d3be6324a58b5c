package directory

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/pki"
)

// TestFetch: a node without statements gets them from a neighbour, then what is
// new only; one whose neighbour began anew starts over.
func TestFetch(t *testing.T) {
	clock := testStart
	a, b := newBox(t, "a", &clock), newBox(t, "b", &clock)
	srv := httptest.NewServer(Handler(a.keys.Ledger))
	defer srv.Close()
	f := Fetcher{Ledger: b.keys.Ledger, Client: srv.Client()}
	pull := func() Fetched {
		t.Helper()
		got, err := f.Pull(context.Background(), srv.URL+"/", "a")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first, _ := a.person("anna")
	if got := pull(); !got.Whole || got.Taken < 4 {
		t.Fatalf("%+v", got)
	}
	if _, st := b.keys.Ledger.Standing(first); st != pki.Live {
		t.Error(st)
	}
	if got := pull(); got.Whole || got.Taken != 0 {
		t.Fatalf("%+v", got)
	}
	second, _ := a.person("bert")
	if got := pull(); got.Whole || got.Taken == 0 {
		t.Fatalf("%+v", got)
	}
	if _, st := b.keys.Ledger.Standing(second); st != pki.Live {
		t.Error(st)
	}
	if err := b.keys.Ledger.SetFetchedTo(srv.URL, 1000); err != nil {
		t.Fatal(err)
	}
	if got := pull(); got.Whole { // began anew: page by page, under quotas
		t.Fatalf("%+v", got)
	}
	if at, err := b.keys.Ledger.FetchedTo(srv.URL); err != nil || at == 0 || at >= 1000 {
		t.Errorf("the place after it began anew: %d, %v", at, err)
	}
}

// TestFetchQuota: what a quota stops comes with a later pull, without a new article.
func TestFetchQuota(t *testing.T) {
	clock := testStart
	a, b := newBox(t, "a", &clock), newBox(t, "b", &clock)
	srv := httptest.NewServer(Handler(a.keys.Ledger))
	defer srv.Close()
	f := Fetcher{Ledger: b.keys.Ledger, Client: srv.Client()}
	if _, err := f.Pull(context.Background(), srv.URL, "a"); err != nil {
		t.Fatal(err)
	}
	text := inceptions(t, 700, testStart)
	if _, err := a.keys.Ledger.Apply("", text); err != nil {
		t.Fatal(err)
	}
	got, err := f.Pull(context.Background(), srv.URL, "a")
	if err != nil || got.Taken != 500 || got.Stopped != 200 {
		t.Fatalf("%+v %v", got, err)
	}
	clock += 86400
	got, err = f.Pull(context.Background(), srv.URL, "a")
	if err != nil || got.Taken != 200 || got.Stopped != 0 {
		t.Fatalf("%+v %v", got, err)
	}
}

// TestFetchHostile: answers of a neighbour that lies or stalls are errors, soon.
func TestFetchHostile(t *testing.T) {
	clock := testStart
	b := newBox(t, "b", &clock)
	for name, h := range map[string]http.HandlerFunc{
		"rubbish": func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(strings.Repeat("x", 100000))) },
		"gone":    func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusGone) },
		"stalls":  func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(h)
			defer srv.Close()
			f := Fetcher{Ledger: b.keys.Ledger, Client: srv.Client(), Idle: 50 * time.Millisecond}
			if _, err := f.Pull(context.Background(), srv.URL, "a"); err == nil {
				t.Error("taken")
			}
		})
	}
	if _, err := (&Fetcher{Ledger: b.keys.Ledger}).Pull(context.Background(), "ftp://x", ""); err == nil || errors.Is(err, errGone) {
		t.Error(err)
	}
}

// inceptions makes identities that nobody vouches for.
func inceptions(t *testing.T, n int, at int64) (out []*pki.Statement) {
	t.Helper()
	b64 := base64.RawURLEncoding
	for i := range n {
		key := ed25519.NewKeyFromSeed(binary.BigEndian.AppendUint64(make([]byte, 24), uint64(i)))
		pub := "ed25519 " + b64.EncodeToString(key.Public().(ed25519.PublicKey))
		next := sha256.Sum256([]byte(pub))
		text := fmt.Sprintf("pki-statement-v1\ntype incept\ntime %d\nkey %s\nnext %s\nrecover none\n", at, pub, b64.EncodeToString(next[:]))
		s, err := pki.ParseStatement(text + "sig " + pub + " " + b64.EncodeToString(ed25519.Sign(key, []byte(text))) + "\n")
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// TestFetchGoesNowhereElse: a neighbour that redirects elsewhere, to a port of this
// machine's own for example, is not followed; to another path of its own it is.
func TestFetchGoesNowhereElse(t *testing.T) {
	clock := testStart
	a, b := newBox(t, "a", &clock), newBox(t, "b", &clock)
	asked := 0
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer inside.Close()
	elsewhere := httptest.NewServer(http.RedirectHandler(inside.URL+"/admin", http.StatusFound))
	defer elsewhere.Close()
	f := Fetcher{Ledger: b.keys.Ledger}
	if _, err := f.Pull(context.Background(), elsewhere.URL, "a"); err == nil || !strings.Contains(err.Error(), "sends us elsewhere") || asked != 0 {
		t.Error("followed:", asked, err)
	}
	mux := http.NewServeMux()
	mux.Handle("/pki/", http.StripPrefix("/pki", Handler(a.keys.Ledger)))
	mux.HandleFunc(Path, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/pki"+r.URL.Path, http.StatusFound) })
	moved := httptest.NewServer(mux)
	defer moved.Close()
	if got, err := f.Pull(context.Background(), moved.URL, "a"); err != nil || got.Taken == 0 {
		t.Error("its own other path:", got, err)
	}
}

// FuzzReadLink: a link that is read, written as §7.3 says, is read as the same link.
func FuzzReadLink(f *testing.F) {
	f.Add("5\nhallo" + strings.Repeat("A", 86) + "\n")
	f.Add("0\n" + strings.Repeat("A", 86) + "\n")
	f.Add("99999999999\nx")
	f.Fuzz(func(t *testing.T, text string) {
		input, sig, err := readLink(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return
		}
		if len(input) > linkOctets {
			t.Fatal("longer than it may be")
		}
		again := strconv.Itoa(len(input)) + "\n" + input + base64.RawURLEncoding.EncodeToString(sig[:]) + "\n"
		in2, sig2, err := readLink(bufio.NewReader(strings.NewReader(again)))
		if err != nil || in2 != input || sig2 != sig {
			t.Errorf("%q %v", again, err)
		}
	})
}
