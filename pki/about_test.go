package pki

import "testing"

// TestGivesAndGets: what one gives is what the other gets, and what is taken back is gone from both.
func TestGivesAndGets(t *testing.T) {
	kr := testKeyring(t, &clock{1_800_000_000})
	for _, name := range []string{"anna", "bob"} {
		if _, _, err := kr.NewIdentity(name, "pw"); err != nil {
			t.Fatal(err)
		}
	}
	anna, _ := kr.Account("anna")
	bob, _ := kr.Account("bob")
	if _, err := kr.Vouch("anna", "pw", Grant{Purpose: "post", Subject: bob.Subject(), Scope: "mesh.*", Depth: 1}); err != nil {
		t.Fatal(err)
	}
	gives, more := kr.Ledger.Gives(anna, 50)
	if len(gives) != 3 || more != 0 { // two of them to the key of the account here
		t.Fatalf("%+v %d", gives, more)
	}
	gets, _ := kr.Ledger.Gets(bob.Subject(), 50)
	found := 0
	for _, g := range gets {
		if g.Other == anna.Subject() && g.Purpose == "post" && g.Scope == "mesh.*" && g.Depth == 1 && g.Status == Live {
			found++
		}
	}
	if len(gets) != 2 || found != 1 {
		t.Errorf("%+v", gets)
	}
	if list, more := kr.Ledger.Gives(anna, 1); len(list) != 1 || more != 2 {
		t.Errorf("bounded: %d and %d more", len(list), more)
	}
	if n, err := kr.Revoke("anna", "pw", bob.Subject(), "", nil); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if gets, _ := kr.Ledger.Gets(bob.Subject(), 50); len(gets) != 1 {
		t.Errorf("after it was taken back: %+v", gets)
	}
	if list, _ := kr.Ledger.Gets(Subject{Kind: SubjectID}, 50); len(list) != 0 {
		t.Errorf("nobody gets %+v", list)
	}
}
