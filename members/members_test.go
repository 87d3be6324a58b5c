package members

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/litfass/litfass/internal/state"
)

func book(t *testing.T) *Book {
	t.Helper()
	db, err := state.Open(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	return &Book{DB: db, Now: func() time.Time { return now }}
}

var home = netip.MustParseAddr("192.0.2.1")

func TestAccounts(t *testing.T) {
	b, ctx := book(t), t.Context()
	for _, c := range []struct {
		a    Account
		want string
	}{
		{Account{Name: "ann", Email: "Ann@Home.example"}, ""},
		{Account{Name: "ann"}, ErrExists.Error()},
		{Account{Name: "bob", Email: "ann@home.EXAMPLE"}, ErrExists.Error()},
		{Account{Name: "bob", Email: "nothing"}, "no mail address"},
		{Account{Name: "bob", Post: "a.*,["}, "pattern"},
		{Account{Name: "-bob"}, "name"},
		{Account{Name: "b\x00b"}, "name"},
		{Account{Name: ""}, "name"},
		{Account{Name: "bob@home.example", Feeds: "box8"}, ""},
	} {
		err := b.Add(ctx, c.a, "secret")
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.a, err, c.want)
		}
	}
	a, err := b.ByEmail(ctx, "ann@home.example")
	if err != nil || a.Name != "ann" || a.Created.IsZero() {
		t.Errorf("%+v %v", a, err)
	}
	if err := b.Change(ctx, "ann", func(a *Account) error { a.Email, a.Hash = "new@home.example", "x"; return nil }); err != nil {
		t.Error(err)
	}
	if _, err := b.ByEmail(ctx, "ann@home.example"); !errors.Is(err, ErrNotFound) {
		t.Errorf("old address: %v", err)
	}
	if _, err := b.Login(ctx, "new@home.example", "secret", home); err != nil {
		t.Errorf("login by mail address: %v", err)
	}
	if all, err := b.List(ctx); err != nil || len(all) != 2 || all[1].Feeds != "box8" {
		t.Errorf("%+v %v", all, err)
	}
	if err := b.Remove(ctx, "ann"); err != nil {
		t.Error(err)
	}
	if err := b.Remove(ctx, "ann"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := b.Get(ctx, "ann"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if err := b.Add(ctx, Account{Name: "ann", Email: "new@home.example"}, ""); err != nil {
		t.Errorf("made again: %v", err)
	}
}

func TestLogin(t *testing.T) {
	b, ctx := book(t), t.Context()
	if err := b.Add(ctx, Account{Name: "ann"}, "secret"); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(ctx, Account{Name: "none"}, ""); err != nil {
		t.Fatal(err)
	}
	login := func(name, password string) error {
		_, err := b.Login(ctx, name, password, home)
		return err
	}
	if err := login("ann", "secret"); err != nil {
		t.Error(err)
	}
	for _, c := range [][2]string{{"ann", "Secret"}, {"ann", ""}, {"nobody", "secret"}, {"none", ""}} {
		if err := login(c[0], c[1]); !errors.Is(err, ErrPassword) {
			t.Errorf("%v: %v", c, err)
		}
	}
	b.slow = brake{}
	if err := b.Passwd(ctx, "ann", "better"); err != nil {
		t.Error(err)
	}
	if err := login("ann", "secret"); !errors.Is(err, ErrPassword) {
		t.Error(err)
	}
	if err := b.Ban(ctx, "ann", Forever, "spam"); err != nil {
		t.Error(err)
	}
	if err := login("ann", "better"); !errors.Is(err, ErrBanned) {
		t.Error(err)
	}
	if err := login("ann", "wrong"); !errors.Is(err, ErrPassword) {
		t.Errorf("a ban is told to the owner only: %v", err)
	}
	if err := b.Add(ctx, Account{Name: "two"}, "a\nb"); err == nil {
		t.Error("a password of two lines")
	}
}

func TestBrake(t *testing.T) {
	b, ctx := book(t), t.Context()
	now := b.Now()
	b.Now = func() time.Time { return now }
	if err := b.Add(ctx, Account{Name: "ann"}, "secret"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Login(ctx, "ann", "secret", home); err != nil {
		t.Fatal(err)
	}
	thief := netip.MustParseAddr("2001:db8::1")
	var slow *Slow
	for i := range 20 {
		if err := b.Throttled("ann", thief); err != nil {
			now = now.Add(10 * time.Minute)
		}
		if _, err := b.Verdict(ctx, "ann", thief, false); !errors.Is(err, ErrPassword) {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if _, err := b.Login(ctx, "ann", "secret", netip.MustParseAddr("2001:db8::2")); !errors.As(err, &slow) || slow.After < 4*time.Minute {
		t.Errorf("the same /64: %v", err)
	}
	other := netip.MustParseAddr("198.51.100.1")
	if _, err := b.Login(ctx, "ann", "secret", other); !errors.As(err, &slow) || slow.After > accountMost {
		t.Errorf("the account from elsewhere: %v", err)
	}
	if _, err := b.Login(ctx, "ann", "secret", home); err != nil {
		t.Errorf("from where its owner logged in before: %v", err)
	}
	now = now.Add(2 * time.Hour)
	if _, err := b.Login(ctx, "ann", "secret", thief); err != nil {
		t.Errorf("after two hours: %v", err)
	}
	for i := range 2 * maxBrakes {
		b.slow.failed(fmt.Sprint(i), netip.Addr{}, now)
	}
	if len(b.slow.m) > maxBrakes {
		t.Errorf("%d counted", len(b.slow.m))
	}
}

// The keys made with the password satisfy the exchange of RFC 5802 §3.
func TestScram(t *testing.T) {
	b, ctx := book(t), t.Context()
	if err := b.Add(ctx, Account{Name: "ann"}, "pencil"); err != nil {
		t.Fatal(err)
	}
	s, err := b.ScramKeys(ctx, "ann")
	if err != nil {
		t.Fatal(err)
	}
	salted, err := pbkdf2.Key(sha256.New, "pencil", s.Salt, s.Rounds, 32)
	if err != nil {
		t.Fatal(err)
	}
	client := mac(salted, "Client Key")
	const auth = "n=ann,r=x,..."
	proof := mac(s.StoredKey, auth)
	for i := range proof {
		proof[i] ^= client[i]
	}
	// The server: ClientKey = proof XOR signature; its hash is StoredKey.
	sig := mac(s.StoredKey, auth)
	for i := range sig {
		sig[i] ^= proof[i]
	}
	if sum := sha256.Sum256(sig); !hmac.Equal(sum[:], s.StoredKey) || !hmac.Equal(mac(salted, "Server Key"), s.ServerKey) {
		t.Error("keys do not fit the password")
	}
	one, err1 := b.ScramKeys(ctx, "nobody")
	two, err2 := (&Book{DB: b.DB}).ScramKeys(ctx, "nobody")
	if err1 != nil || err2 != nil || string(one.Salt) != string(two.Salt) || len(one.Salt) != len(s.Salt) || one.Rounds != s.Rounds {
		t.Errorf("made up: %v %v", one, two)
	}
}

// RFC 7677 §3 gives a test vector.
func TestScramVector(t *testing.T) {
	const salt64, nonce = "W22ZaJ0SNY7soEsUEjb6gQ==", "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	salt, err := base64.StdEncoding.DecodeString(salt64)
	if err != nil {
		t.Fatal(err)
	}
	s, err := scram("pencil", salt)
	if err != nil {
		t.Fatal(err)
	}
	auth := "n=user,r=rOprNGfwEbeRWgbNEkqO,r=" + nonce + ",s=" + salt64 + ",i=4096,c=biws,r=" + nonce
	if got := base64.StdEncoding.EncodeToString(mac(s.ServerKey, auth)); got != "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Errorf("server signature %s", got)
	}
}

// Fifty logins at once must not hold more than one hashing in memory.
func TestLoginsBounded(t *testing.T) {
	b, ctx := book(t), context.Background()
	if err := b.Add(ctx, Account{Name: "ann"}, "secret"); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	var before, peak runtime.MemStats
	runtime.ReadMemStats(&before)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			if _, err := b.Login(ctx, "ann", "secret", home); err != nil {
				t.Error(err)
			}
		})
	}
	go func() { wg.Wait(); close(done) }()
	most := 0
	for {
		select {
		case <-done:
			if most > hashings {
				t.Errorf("%d hashings at one time", most)
			}
			runtime.ReadMemStats(&peak)
			t.Logf("heap in use from %d to %d KiB (system %d KiB)", before.HeapInuse>>10, peak.HeapInuse>>10, peak.HeapSys>>10)
			return
		default:
			most = max(most, len(b.slots))
			runtime.Gosched()
		}
	}
}

// Room is made before the first of many hashings, and again after a pause.
func TestRoomIsMade(t *testing.T) {
	b := book(t)
	now, made := b.now(), 0
	b.Now = func() time.Time { return now }
	b.MakeRoom = func() { made++ }
	if err := b.Add(t.Context(), Account{Name: "anna"}, "secret"); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{1, 1, 2} {
		if i == 2 {
			now = now.Add(2 * tidyFor)
		}
		if _, err := b.Login(t.Context(), "anna", "secret", home); err != nil {
			t.Fatal(err)
		}
		if made != want {
			t.Errorf("login %d: room was made %d times, want %d", i, made, want)
		}
	}
}

func TestRanges(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""}, {"1-5,7,9-12", "1-5,7,9-12"}, {" 1 - 5 , 6", "1-6"}, {"9,1-3,2-4", "1-4,9"}, {"0-3", "1-3"}, {"5-2", ""}, {"0", ""}, {"3,", "3"},
	} {
		r, err := ParseRanges(c.in)
		if err != nil || r.String() != c.want {
			t.Errorf("%q: %q %v", c.in, r, err)
		}
	}
	for _, bad := range []string{"x", "1-", "-5", "1-2-3", "99999999999999999999"} {
		if _, err := ParseRanges(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func FuzzRanges(f *testing.F) {
	f.Add("1-5,7", uint8(3), uint8(9), uint8(4), uint8(6))
	f.Add("", uint8(0), uint8(0), uint8(255), uint8(1))
	f.Fuzz(func(t *testing.T, text string, lo, hi, dlo, dhi uint8) {
		r, err := ParseRanges(text)
		if err != nil {
			return
		}
		again, err := ParseRanges(r.String())
		if err != nil || again.String() != r.String() {
			t.Fatalf("%q becomes %q", r, again)
		}
		got := r.Add(uint64(lo), uint64(hi)).Del(uint64(dlo), uint64(dhi))
		for n := range uint64(256) {
			want := (r.Has(n) || uint64(lo) <= n && n <= uint64(hi)) && !(uint64(dlo) <= n && n <= uint64(dhi))
			if got.Has(n) != want {
				t.Fatalf("%q +%d-%d -%d-%d = %q: %d", r, lo, hi, dlo, dhi, got, n)
			}
		}
		for i := 1; i < len(got); i++ {
			if got[i-1].Hi+1 >= got[i].Lo {
				t.Fatalf("%q is not in order", got)
			}
		}
	})
}

func TestManyRangesAreJoined(t *testing.T) {
	var r Ranges
	for n := uint64(1); n <= 3*maxRanges; n++ {
		r = r.Add(2*n, 2*n)
	}
	if len(r) != maxRanges || !r.Has(2) || !r.Has(6*maxRanges) || r.Has(6*maxRanges-1) {
		t.Errorf("%d ranges, %v ... %v", len(r), r[0], r[len(r)-1])
	}
}

func TestMarks(t *testing.T) {
	b, ctx := book(t), t.Context()
	for _, n := range []string{"ann", "an"} {
		if err := b.Add(ctx, Account{Name: n}, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Mark(ctx, "ghost", "a.b", 1, 2, true); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	err := errors.Join(b.Mark(ctx, "ann", "a.b", 1, 10, true), b.Mark(ctx, "ann", "a.b", 4, 5, false), b.MarkMany(ctx, "ann", "a.b", []uint64{12, 14, 13}),
		b.Mark(ctx, "an", "a.b", 7, 7, true), b.Subscribe(ctx, "ann", true, "a.b", "a.c"), b.Subscribe(ctx, "ann", false, "a.c"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.ReadIn(ctx, "ann", "a.b")
	if err != nil || r.String() != "1-3,6-10,12-14" || r.Count(2, 12) != 8 {
		t.Errorf("%q %v", r, err)
	}
	if subs, err := b.Subscriptions(ctx, "ann"); err != nil || fmt.Sprint(subs) != "[a.b]" {
		t.Errorf("%v %v", subs, err)
	}
	n, err := b.ImportNewsrc(ctx, "ann", strings.NewReader("x.y: 1-4,9\r\noptions -r\na.c! 3\na.b: 1\n\nnew.group:\n"))
	if err != nil || n != 4 {
		t.Errorf("%d %v", n, err)
	}
	var out strings.Builder
	if err := b.ExportNewsrc(ctx, "ann", &out); err != nil || out.String() != "a.b: 1\na.c! 3\nnew.group:\nx.y: 1-4,9\n" {
		t.Errorf("%q %v", out.String(), err)
	}
	if err := b.Remove(ctx, "ann"); err != nil {
		t.Fatal(err)
	}
	if r, _ := b.ReadIn(ctx, "ann", "a.b"); len(r) != 0 {
		t.Errorf("read state of a removed account: %v", r)
	}
	if r, _ := b.ReadIn(ctx, "an", "a.b"); r.String() != "7" {
		t.Errorf("another account lost its state: %v", r)
	}
}
