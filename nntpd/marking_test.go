package nntpd

import (
	"testing"

	"github.com/litfass/litfass/members"
)

// What an account fetched is marked in all groups of an article, if it wants that.
func TestMarking(t *testing.T) {
	var b *members.Book
	n := start(t, nodeConfig{accounts: true, edit: func(c *Config) {
		b = c.Accounts.(*members.Book)
		c.Marks = b
	}})
	login := func(more string) { talkStep(t, n, "AUTHINFO USER anna", "AUTHINFO PASS secret word", more, "QUIT") }
	login("ARTICLE <1@mesh.example>")
	if r, err := b.ReadIn(t.Context(), "anna", "mesh.test"); err != nil || len(r) != 0 {
		t.Errorf("marked unasked: %v %v", r, err)
	}
	if err := b.Change(t.Context(), "anna", func(a *members.Account) error { a.MarkRead = true; return nil }); err != nil {
		t.Fatal(err)
	}
	talkStep(t, n, "AUTHINFO USER anna", "AUTHINFO PASS secret word", "GROUP mesh.test", "ARTICLE 1", "BODY 2", "HEAD 4", "ARTICLE <both@mesh.example>", "QUIT")
	for g, want := range map[string]string{"mesh.test": "1-2,6", "mesh.new": "1"} {
		wait(t, func() bool {
			r, err := b.ReadIn(t.Context(), "anna", g)
			return err == nil && r.String() == want
		})
	}
}
