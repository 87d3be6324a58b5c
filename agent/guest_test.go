package agent

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/litfass/litfass/article"
)

// A guest withdraws what he posted with the secret of his client, and nobody else does.
func TestGuestSecret(t *testing.T) {
	a := node(t)
	a.Policy.Anonymous = map[string]string{"web": "post"}
	var kept []string
	a.Superseded = func(_ context.Context, old *article.Article, by article.ID) error {
		kept = append(kept, string(old.ID())+" by "+string(by))
		return nil
	}
	gone := 0
	a.Withdrawn = func(context.Context, article.ID) { gone++ }
	guest := Origin{Door: "web", Trusted: true, Secret: "mine"}
	post := func(o Origin, fields string) *article.Article {
		t.Helper()
		r, err := a.Inject(t.Context(), draft(t, strings.TrimPrefix(with(fields), "\n")), o)
		if err != nil {
			t.Fatal(err)
		}
		obeyAll(t, a)
		return open(t, a, r.ID)
	}
	first := post(guest, "")
	if !Unlocks(first.Get("Cancel-Lock"), "mine", first.ID()) {
		t.Fatalf("Cancel-Lock %q does not open", first.Get("Cancel-Lock"))
	}
	for _, secret := range []string{"", "other"} {
		if Unlocks(first.Get("Cancel-Lock"), secret, first.ID()) {
			t.Errorf("secret %q opens it", secret)
		}
	}
	if Unlocks(first.Get("Cancel-Lock"), "mine", "<other@x>") {
		t.Error("opens for another article")
	}
	for _, secret := range []string{"", "other"} {
		o := guest
		o.Secret = secret
		post(o, "Control: cancel "+string(first.ID()))
		if !here(t, a, first.ID()) {
			t.Fatalf("withdrawn with secret %q", secret)
		}
	}
	second := post(guest, "Supersedes: "+string(first.ID()))
	if here(t, a, first.ID()) {
		t.Error("the old version is still here")
	}
	if want := []string{string(first.ID()) + " by " + string(second.ID())}; !slices.Equal(kept, want) {
		t.Errorf("kept %v, want %v", kept, want)
	}
	post(guest, "Control: cancel "+string(second.ID()))
	if here(t, a, second.ID()) {
		t.Error("not withdrawn")
	}
	if gone != 2 {
		t.Errorf("told of %d withdrawn articles, want 2", gone)
	}
	if len(kept) != 1 {
		t.Errorf("a cancel is told of as well: %v", kept)
	}
}
