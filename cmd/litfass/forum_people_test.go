package main

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/litfass/litfass/webforum"
)

// TestForumPeople: what one says of another on the pages is signed, shown with
// both, taken back, and needs the right password.
func TestForumPeople(t *testing.T) {
	ctx := t.Context()
	k, err := openCore(ctx, config{Data: t.TempDir(), Host: "a.example", PKI: pkiSection{Prefix: "mesh"}}, slog.New(slog.DiscardHandler), func(string) string { return "" }, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	c := &control{core: k}
	for _, name := range []string{"anna", "bob"} {
		if _, err := c.userAdd(ctx, userJSON{Name: name, Password: "long enough"}); err != nil {
			t.Fatal(err)
		}
	}
	f := forumPeople{k}
	anna, _ := k.keys.Account("anna")
	bob, _ := k.keys.Account("bob")
	p, err := f.Person(ctx, bob.String())
	if err != nil || p.Name != "bob" || p.Status != "live" || !p.Here || p.Since.IsZero() || len(p.Keys) != 1 || len(p.Devices) != 2 || len(p.By) != 1 || p.By[0].Name != "a.example" || len(p.For) != 0 {
		t.Errorf("%+v %v", p, err)
	}
	v := webforum.Vouch{Account: "anna", Password: "long enough", Identity: bob.String(), Purpose: "post", Scope: "mesh.*", Depth: 1}
	wrong := v
	wrong.Password = "other"
	if err := f.Vouch(ctx, wrong); !errors.Is(err, webforum.ErrSealed) {
		t.Errorf("wrong password: %v", err)
	}
	wrong = v
	wrong.Scope = "mesh.[a]"
	if err := f.Vouch(ctx, wrong); err == nil {
		t.Error("a scope that is none")
	}
	if err := f.Vouch(ctx, v); err != nil {
		t.Fatal(err)
	}
	if p, _ = f.Person(ctx, bob.String()); len(p.By) != 2 {
		t.Errorf("bob: %+v", p.By)
	}
	if p, _ = f.Person(ctx, anna.String()); len(p.For) != 1 || p.For[0].Name != "bob" || p.For[0].Scope != "mesh.*" || p.For[0].Depth != 1 {
		t.Errorf("anna: %+v", p.For)
	}
	if n, err := f.TakeBack(ctx, "anna", "long enough", bob.String()); n != 1 || err != nil {
		t.Error(n, err)
	}
	if p, _ = f.Person(ctx, bob.String()); len(p.By) != 1 {
		t.Errorf("after taking back: %+v", p.By)
	}
	if p, err = f.Person(ctx, k.keys.NodeID().String()); err != nil || !p.Node || len(p.Believed) != 1 || len(p.For) != 2 {
		t.Errorf("the node: %+v %v", p, err)
	}
	if err := f.Passwd(ctx, "anna", "long enough", "longer still"); err != nil {
		t.Fatal(err)
	}
	v.Password = "longer still"
	if err := f.Vouch(ctx, v); err != nil {
		t.Errorf("the identity did not go along: %v", err)
	}
}
