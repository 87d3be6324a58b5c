package webforum

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Groups that programs write stand apart from those that people read.
func TestGroupsForPrograms(t *testing.T) {
	w := newWorld(t)
	has(t, w.get("/"), ">3 groups")
	hasNot(t, w.get("/"), "Groups for programs")
	w.f.groups.forget()
	w.groups("control", "control.cancel", "junk", "mesh.admin.pki.keys", "mesh.admin.news", "controlled.burning", "junk.mail")
	people, programs, found := strings.Cut(w.get("/").body, "<summary>Groups for programs</summary>")
	if !found {
		t.Fatal("nothing is folded away")
	}
	for name, folded := range map[string]bool{"control": true, "control.cancel": true, "junk": true, "mesh.admin.pki.keys": true, "mesh.admin.news": false, "controlled.burning": false, "junk.mail": false, "misc.test": false} {
		link := `href="/g/` + name + `"`
		if strings.Contains(programs, link) != folded || strings.Contains(people, link) == folded {
			t.Errorf("%s: folded away %v, want %v", name, !folded, folded)
		}
	}
	has(t, w.get("/?under=control"), `href="/g/control.cancel"`) // who asks for them gets them
	has(t, w.get("/?find=PKI"), `href="/g/mesh.admin.pki.keys"`)
}

// A list of very many groups is cut into pages, and names are found in it.
func TestManyGroups(t *testing.T) {
	w := newWorld(t)
	var names []string
	for i := range 700 {
		names = append(names, fmt.Sprintf("h%03d.talk", i), fmt.Sprintf("h%03d.c++.moderated", i))
	}
	w.groups(names...)
	first := w.get("/")
	has(t, first, ">1403 groups")
	has(t, first, `"/?under=h000"`)
	has(t, first, `href="?page=2" rel="next"`)
	has(t, first, "Busiest groups")
	hasNot(t, first, `"/?under=h699"`)
	last := w.get("/?page=3")
	has(t, last, `"/?under=h699"`)
	has(t, last, `"/?under=misc"`)
	has(t, last, `href="?page=2" rel="prev"`)
	hasNot(t, last, `"/?under=h000"`)
	hasNot(t, last, `rel="next"`)
	found := w.get("/?find=C%2B%2B&page=2")
	has(t, found, ">700 groups")
	has(t, found, `href="/g/h060.c&#43;&#43;.moderated"`)
	has(t, found, `href="?find=C%2B%2B&amp;page=3"`)
	hasNot(t, found, `/g/h060.talk"`)
	hasNot(t, found, "/g/h059.c")
	has(t, w.get("/?find=nowhere"), "No group’s name")
	for _, page := range []string{"0", "-1", "99", "x", "9223372036854775807"} {
		has(t, w.get("/?page="+page), `"/?under=h000"`)
	}
}

// TestHugeList: with very many groups nobody waits for the list that is made anew.
func TestHugeList(t *testing.T) {
	w := newWorld(t)
	var clock atomic.Int64
	clock.Store(time.Now().Unix())
	w.f.Now = func() time.Time { return time.Unix(clock.Load(), 0) }
	many(w, hugeGroups)
	count := func() string {
		_, rest, _ := strings.Cut(w.get("/").body, `<p class="dim">`)
		n, _, _ := strings.Cut(rest, " ")
		return n
	}
	if n := count(); n != "5003" {
		t.Fatal(n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- w.f.Run(ctx) }()
	w.groups("one.more")
	clock.Add(int64(hugeAge/time.Second) + 1)
	if n := count(); n != "5003" { // the old one, once more
		t.Errorf("%s groups at once", n)
	}
	for end := time.Now().Add(20 * time.Second); count() != "5004"; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the list stays old")
		}
	}
	cancel()
	if err := <-over; err != nil {
		t.Error(err)
	}
	w.groups("one.more.still")
	clock.Add(int64(hugeMost/time.Second) + 1)
	if n := count(); n != "5005" { // too old to be shown
		t.Errorf("%s groups", n)
	}
}

// TestManyForPrograms: what is folded away is cut into pages, too.
func TestManyForPrograms(t *testing.T) {
	w := newWorld(t)
	var names []string
	for i := range cloudPage + 5 {
		names = append(names, fmt.Sprintf("control.c%03d", i))
	}
	w.groups(names...)
	has(t, w.get("/"), `<a href="/?programs=1">`)
	first := w.get("/?programs=1")
	has(t, first, "<h1>Groups for programs</h1>")
	has(t, first, ">305 groups")
	has(t, first, `href="?page=2&amp;programs=1" rel="next"`)
	has(t, first, `href="/g/control.c299"`)
	hasNot(t, first, "misc.test")
	last := w.get("/?programs=1&page=2")
	has(t, last, `href="/g/control.c304"`)
	hasNot(t, last, `href="/g/control.c299"`)
}
