//go:build !notorrent && !nosearch

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/pki"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/webforum/ward"
)

// TestHidden: what a moderator hides is gone for newsreaders, feeds, searches and
// the browser, and is back when he shows it.
func TestHidden(t *testing.T) {
	n := startNode(t, "a", "")
	for _, w := range []string{"kept", "gone"} {
		nntpPost(t, n.nntp, "From: Eve <eve@a.example>\r\nNewsgroups: mesh.talk\r\nSubject: xylophone "+w+"\r\nMessage-ID: <"+w+"@a.example>\r\n\r\ntext\r\n")
	}
	look := func() map[string]bool {
		t.Helper()
		shows := map[string]bool{}
		say, err := play(n.nntp, "< 200...\n> GROUP mesh.talk\n< 211...\n> OVER 1-\n< ...\n> HDR Message-ID 1-\n< ...\n> NEWNEWS * 20200101 000000 GMT\n< ...\n> QUIT\n< 205...\n")
		if err != nil {
			t.Fatal(say, err)
		}
		shows["newsreader"] = strings.Count(say, "<gone@a.example>") == 3
		if !shows["newsreader"] && strings.Contains(say, "<gone@a.example>") {
			t.Errorf("a newsreader sees it in one list and not in another:\n%s", say)
		}
		_, err = play(n.nntp, "< 200...\n> ARTICLE <gone@a.example>\n< 220...\n")
		shows["article"] = err == nil
		for name, url := range map[string]string{"feed": "/g/mesh.talk/feed.atom", "all": "/feed.rss", "search feed": "/search/feed.json?q=xylophone", "search": "/search?q=xylophone", "list": "/g/mesh.talk"} {
			_, body := httpGet(t, "http://"+n.http+url)
			if !bytes.Contains(body, []byte("kept")) {
				t.Errorf("%s does not show what is not hidden: %s", name, body)
			}
			shows[name] = bytes.Contains(body, []byte("xylophone gone"))
		}
		res, _ := httpGet(t, "http://"+n.http+"/m/gone@a.example")
		shows["page"] = res.StatusCode == 200
		out, _ := n.cmd("search", "xylophone")
		shows["command"] = strings.Contains(out, "gone")
		return shows
	}
	all := func(want bool, when string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) { // followers of another goroutine
			shows := look()
			wrong := ""
			for name, is := range shows {
				if is != want {
					wrong += " " + name
				}
			}
			if wrong == "" {
				return
			}
			if !want || time.Now().After(deadline) {
				t.Fatalf("%s: wrong in%s", when, wrong)
			}
		}
	}
	all(true, "before")
	if out, code := n.cmd("moderate", "hide", "<gone@a.example>", "--reason", "spam"); code != 0 {
		t.Fatal(out)
	}
	all(false, "hidden")
	if _, err := play(n.nntp, "< 200...\n> IHAVE <gone@a.example>\n< 435...\n"); err != nil {
		t.Logf("a peer that offers it: %v", err) // 480 where no peer may come from here
	}
	if out, code := n.cmd("moderate", "show", "<gone@a.example>", "--reason", "it was a joke"); code != 0 {
		t.Fatal(out)
	}
	all(true, "shown again")
	if out, _ := n.cmd("moderate", "log"); !strings.Contains(out, "it was a joke") || !strings.Contains(out, "spam") {
		t.Errorf("log: %s", out)
	}
}

// TestBarredKeys: articles signed by a barred key are refused wherever they come
// from, hidden where they are, and its owner moderates nothing.
func TestBarredKeys(t *testing.T) {
	ctx := t.Context()
	k, err := openCore(ctx, config{Data: t.TempDir(), Host: "a.example", NNTP: nntpSection{Anonymous: "post", MaxArticle: 1 << 20, MaxPost: 1 << 20}, PKI: pkiSection{Prefix: "mesh"}}, slog.New(slog.DiscardHandler), func(string) string { return "" }, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	c := &control{core: k}
	for _, name := range []string{"anna", "eve"} {
		if _, err := c.userAdd(ctx, userJSON{Name: name, Password: "long enough"}); err != nil {
			t.Fatal(err)
		}
	}
	eve, _ := k.keys.Account("eve")
	if _, err := k.keys.Vouch("", "", pki.Grant{Purpose: "moderate", Subject: eve.Subject()}); err != nil {
		t.Fatal(err)
	}
	if err := k.spool.PutGroups(ctx, spool.GroupInfo{Name: "mesh.mod", Status: spool.Moderated, Moderator: "m@a.example"}); err != nil {
		t.Fatal(err)
	}
	post := func(account, group string) (agent.Result, error) {
		d := &article.Draft{Body: strings.NewReader("text\r\n")}
		for _, f := range [][2]string{{"From", account + " <x@a.example>"}, {"Newsgroups", group}, {"Subject", "s"}} {
			d.Set(f[0], f[1])
		}
		return k.agent.Inject(ctx, d, agent.Origin{Door: "nntp", Account: account, Addr: netip.MustParseAddr("127.0.0.1"), Trusted: true})
	}
	code := func(err error) string {
		var r *agent.Refusal
		if errors.As(err, &r) {
			return r.Code
		}
		return fmt.Sprint(err)
	}
	before, err := post("eve", "mesh.talk")
	if err != nil {
		t.Fatal(err)
	}
	signed, err := k.spool.Open(ctx, before.Entry.Seq)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := post("anna", "mesh.mod"); err != nil {
		t.Fatal(err)
	}
	held, err := k.agent.Waiting(ctx)
	if err != nil || len(held) != 1 {
		t.Fatal(held, err)
	}
	as := func(account string) agent.Origin { return agent.Origin{Door: "web", Account: account, Trusted: true} }
	if err := k.decide(ctx, ward.BanKey, eve.String(), "flood", "operator"); err != nil {
		t.Fatal(err)
	}
	if err := k.decide(ctx, ward.BanKey, k.keys.NodeID().String(), "x", "operator"); err == nil {
		t.Error("the node bars itself")
	}
	if _, err := post("eve", "mesh.talk"); code(err) != "banned-key" {
		t.Errorf("posting: %v", err)
	}
	if _, err := post("anna", "mesh.talk"); err != nil {
		t.Errorf("somebody else: %v", err)
	}
	f := barredKeys{k}
	if err := f.Check(ctx, signed, agent.Origin{Door: "nntp", Peer: "north"}); code(err) != "banned-key" {
		t.Errorf("a copy that a peer brings: %v", err)
	}
	if _, err := k.shown.ByID(ctx, before.ID); !errors.Is(err, spool.ErrNotFound) {
		t.Errorf("what was here already: %v", err)
	}
	for e, err := range k.shown.Range(context.Background(), "mesh.talk", 1, 100) {
		if err != nil || e.ID == before.ID {
			t.Errorf("in a list: %v %v", e.ID, err)
		}
	}
	if _, err := k.agent.Approve(ctx, held[0].Key, as("eve"), ""); code(err) != "banned-key" {
		t.Errorf("approving: %v", err)
	}
	if err := k.decide(ctx, ward.UnbanKey, eve.String(), "sorry", "operator"); err != nil {
		t.Fatal(err)
	}
	res, err := k.agent.Approve(ctx, held[0].Key, as("eve"), "")
	if err != nil {
		t.Fatal("approving after the ban:", err)
	}
	approved, err := k.spool.Open(ctx, res.Entry.Seq)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.shown.ByID(ctx, before.ID); err != nil {
		t.Errorf("after the ban: %v", err)
	}
	if err := k.decide(ctx, ward.BanKey, eve.String(), "again", "operator"); err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(approved.Head()), "Article-Signature:") == 2 {
		if err := f.Check(ctx, approved, agent.Origin{Door: "nntp", Peer: "north"}); code(err) != "banned-key" {
			t.Errorf("an approval that a peer brings: %v", err)
		}
	} else {
		t.Error("the approval is not signed")
	}
}
