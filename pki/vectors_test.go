package pki

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
)

type vectorCase struct {
	Name, Article string
	Valid         bool
	Fields        []struct {
		U, I, Digest string
		Valid        bool
	}
}

type vectors struct {
	Keys []struct {
		Name, Key_text, Key_digest, Seed_hex string
	}
	Statements map[string]struct {
		Text, Digest, ID string
		Octets           int
	}
	Malformed map[string]string `json:"malformed_statements"`
	Identity  []struct {
		Set                    []string
		Status, Key, Next, Why string
		Seq                    uint64
	} `json:"identity_evaluation"`
	Article struct {
		Raw, Field, Digest string
		BodyHash           string `json:"body_hash"`
		Input              string `json:"signing_input"`
		Message            string `json:"signed_message_hex"`
		Overhead           int    `json:"overhead_octets"`
		Mutations          []vectorCase
	}
	Strict   []vectorCase `json:"article_strict"`
	Approval struct {
		Field  string
		Input  string `json:"signing_input"`
		Digest string
		Cases  []vectorCase
	}
	BodyHash []struct{ Body, BH string } `json:"body_hash"`
	Chain    struct {
		Articles []struct{ Article, Digest string }
		InForce  int `json:"in_force"`
		Without  int `json:"in_force_without_the_second"`
		Incept   string
	}
	Scope []struct {
		Scope, Group string
		Contained    bool
	}
	Trust struct {
		Anchors []struct {
			ID, Purpose, Scope string
			Depth              int
		}
		Decisions []struct {
			Allowed                      bool
			Arrows                       []string
			Group, Purpose, Subject, Why string
			Now                          int64
			Left                         *int
		}
	}
	BoundID struct {
		KeyText string `json:"key_text"`
		H       string
		IDs     []struct {
			ID       string
			Promises bool
			ByKey    bool `json:"by_this_key"`
		}
	} `json:"bound_id"`
	Times struct {
		RotationTime    int64 `json:"rotation_time"`
		RotationArrived int64 `json:"rotation_arrived"`
		Cases           []struct {
			Why        string
			BadSince   *int64 `json:"bad_since"`
			Head       bool
			T, Arrived int64
			Result     Result
		}
	}
	Words struct {
		Cases []struct {
			Seed  string `json:"seed_hex"`
			Words string
		}
	}
	Login struct{ Message, Key, Signature string }
}

func loadVectors(t testing.TB) *vectors {
	t.Helper()
	b, err := os.ReadFile("../docs/spec/pki-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	v := &vectors{}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
	return v
}

// testKey is the vectors' key of that name: its seed is the name's SHA-256.
func testKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// parseText parses an article kept as text.
func parseText(text string) (*article.Article, error) {
	wire, err := article.Normalize([]byte(text), article.Limits{})
	if err != nil {
		return nil, err
	}
	return article.Parse(wire, article.Limits{})
}

func judgeText(text string) bool {
	a, err := parseText(text)
	if err != nil {
		return false
	}
	p, _ := Verify(a)
	return p.State == article.ProofHolds
}

func TestVectorKeys(t *testing.T) {
	for _, k := range loadVectors(t).Keys {
		key := KeyOf(testKey(k.Name))
		if key.Text() != k.Key_text || key.Digest().String() != k.Key_digest {
			t.Errorf("%s: %s %s", k.Name, key.Text(), key.Digest())
		}
	}
}

func TestVectorArticle(t *testing.T) {
	v := loadVectors(t).Article
	a, err := parseText(v.Field + v.Raw)
	if err != nil {
		t.Fatal(err)
	}
	r := Examine(a)
	if r.Err != nil || r.Proof.State != article.ProofHolds {
		t.Fatal(r.Err)
	}
	if string(r.Input) != v.Input {
		t.Errorf("signing input\n%s\nwant\n%s", r.Input, v.Input)
	}
	if d := Digest(r.Proof.Digest).String(); d != v.Digest {
		t.Errorf("digest %s, want %s", d, v.Digest)
	}
	if BodyHash(a.Body()).String() != v.BodyHash {
		t.Error("body hash")
	}
	if n := len(v.Mutations); n != 25 {
		t.Errorf("%d altered copies", n)
	}
	for _, m := range append(v.Mutations, loadVectors(t).Strict...) {
		if got := judgeText(m.Article); got != m.Valid {
			t.Errorf("%s: holds %v, want %v", m.Name, got, m.Valid)
		}
	}
}

// TestSignAsVector signs the article of the vectors and gets their field.
func TestSignAsVector(t *testing.T) {
	v := loadVectors(t)
	id, err := ParseID(v.Statements["alice-incept"].ID)
	if err != nil {
		t.Fatal(err)
	}
	a, err := parseText(v.Article.Raw)
	if err != nil {
		t.Fatal(err)
	}
	d := article.NewDraft(a)
	digest, err := Sign(d, Stamp{Purpose: UsePost, Identity: id, Signer: testKey("alice-0"), Time: time.Unix(1795402860, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if digest.String() != v.Article.Digest {
		t.Errorf("digest %s, want %s", digest, v.Article.Digest)
	}
	got := d.Header[len(d.Header)-1][1]
	if dropBlanks([]byte(got)) != dropBlanks([]byte(strings.TrimPrefix(v.Article.Field, "Article-Signature:"))) {
		t.Errorf("field\n%s\nwant\n%s", got, v.Article.Field)
	}
	for line := range strings.SplitSeq("Article-Signature: "+got, "\r\n") {
		if len(line) > 78 {
			t.Errorf("line of %d columns: %s", len(line), line)
		}
	}
	if b, err := d.Build(article.Limits{}); err != nil {
		t.Error(err)
	} else if p, err := Verify(b); err != nil || p.State != article.ProofHolds {
		t.Error(p, err)
	}
}

func TestVectorApproval(t *testing.T) {
	v := loadVectors(t)
	for _, c := range v.Approval.Cases {
		a, err := parseText(c.Article)
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		p, _ := Verify(a)
		good := map[string]bool{}
		for _, ap := range p.Approve {
			good[ap.Identity] = true
		}
		for _, f := range c.Fields {
			got := good[f.I]
			if f.U != UseApprove {
				got = p.State == article.ProofHolds && p.Identity == f.I && Digest(p.Digest).String() == f.Digest
			}
			if got != f.Valid {
				t.Errorf("%s: field u=%s of %s: %v, want %v", c.Name, f.U, f.I, got, f.Valid)
			}
		}
	}
}

// TestApprove lets a moderator approve a signed article.
func TestApprove(t *testing.T) {
	v := loadVectors(t)
	a, err := parseText(v.Article.Mutations[0].Article)
	if err != nil {
		t.Fatal(err)
	}
	bob, _ := ParseID(v.Statements["bob-incept"].ID)
	d := article.NewDraft(a)
	s := Stamp{Purpose: UseApprove, Identity: bob, Signer: testKey("bob-0"), Time: time.Unix(1795403000, 0)}
	if _, err := Sign(d, s); err == nil {
		t.Error("approved without the field Approved")
	}
	d.Set("Approved", "bob@node2.mesh")
	digest, err := Sign(d, s)
	if err != nil || digest.String() != v.Approval.Digest {
		t.Errorf("digest %s, %v; want %s", digest, err, v.Approval.Digest)
	}
	b, err := d.Build(article.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := Verify(b); err != nil || p.State != article.ProofHolds || len(p.Approve) != 1 {
		t.Error(p, err)
	}
}

func TestVectorBodyHash(t *testing.T) {
	for _, c := range loadVectors(t).BodyHash {
		if got := BodyHash([]byte(c.Body)).String(); got != c.BH {
			t.Errorf("%q: %s, want %s", c.Body, got, c.BH)
		}
		crlf := strings.ReplaceAll(strings.ReplaceAll(c.Body, "\r\n", "\n"), "\n", "\r\n")
		if got, err := hashBody(bytes.NewReader([]byte(crlf))); err != nil || got.String() != c.BH {
			t.Errorf("%q as a stream: %s, %v, want %s", c.Body, got, err, c.BH)
		}
	}
}

func TestVectorScope(t *testing.T) {
	for _, c := range loadVectors(t).Scope {
		if err := CheckScope(c.Scope); err != nil {
			t.Errorf("%s: %v", c.Scope, err)
		}
		if got := InScope(c.Scope, c.Group); got != c.Contained {
			t.Errorf("%s contains %s: %v, want %v", c.Scope, c.Group, got, c.Contained)
		}
	}
}

func TestVectorBoundID(t *testing.T) {
	v := loadVectors(t).BoundID
	key, err := ParseKey(v.KeyText)
	if err != nil || boundHash(key) != v.H {
		t.Fatal(boundHash(key), err)
	}
	for _, c := range v.IDs {
		h, promises := BoundKey(article.ID(c.ID))
		if promises != c.Promises || promises && (h == v.H) != c.ByKey {
			t.Errorf("%s: promises %v by %s", c.ID, promises, h)
		}
	}
	if id := BoundID("k3x9qa7m2p5r8t1v", key, "node1.mesh"); string(id) != v.IDs[0].ID {
		t.Error(id)
	}
}

func TestStrippedBoundID(t *testing.T) {
	v := loadVectors(t)
	text := strings.Replace(v.Article.Raw, "<1.abc@node1.mesh>", v.BoundID.IDs[0].ID, 1)
	a, err := parseText(text)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := Verify(a); p.State != article.ProofInvalid || err == nil {
		t.Error("an unsigned copy under an id that promises a signature is taken")
	}
	id, _ := ParseID(v.Statements["alice-incept"].ID)
	for name, want := range map[string]article.ProofState{"alice-0": article.ProofHolds, "mallory-0": article.ProofInvalid} {
		d := article.NewDraft(a)
		if _, err := Sign(d, Stamp{Purpose: UsePost, Identity: id, Signer: testKey(name), Time: time.Unix(1795402860, 0)}); err != nil {
			t.Fatal(err)
		}
		b, err := d.Build(article.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if p, _ := Verify(b); p.State != want {
			t.Errorf("%s: %v", name, p.State)
		}
	}
}

func FuzzField(f *testing.F) {
	v := loadVectors(f)
	f.Add([]byte(strings.TrimPrefix(v.Article.Field, "Article-Signature:")))
	f.Add([]byte(strings.TrimPrefix(v.Approval.Field, "Article-Signature:")))
	f.Fuzz(func(t *testing.T, value []byte) {
		p, err := ParseField(value)
		if err != nil {
			return
		}
		// What parses is what was signed: written again, it is the same without blanks.
		if got := dropBlanks([]byte(p.Value())); got != dropBlanks(value) {
			t.Fatalf("%q became %q", value, got)
		}
		if p.cover() != p.covered {
			t.Fatalf("covered %q, written %q", p.covered, p.cover())
		}
	})
}

// benchDraft is an article with a body of 2.5 KB.
func benchDraft() *article.Draft {
	return &article.Draft{
		Header: [][2]string{
			{"From", "Alice <alice@node1.mesh>"}, {"Newsgroups", "mesh.radio,mesh.talk"}, {"Subject", "Sendeplan"},
			{"Date", "Mon, 23 Nov 2026 03:00:00 +0000"}, {"Message-ID", "<1.abc@node1.mesh>"},
			{"References", "<0.aaa@node1.mesh>\r\n <0.bbb@node2.mesh>"}, {"MIME-Version", "1.0"},
			{"Content-Type", "text/plain; charset=utf-8"}, {"User-Agent", "slrn/1.0.3"}, {"Path", "node1.mesh!not-for-mail"},
		},
		Body: bytes.NewReader([]byte(strings.Repeat("Morgen um acht, wie immer, und abends noch einmal.\r\n", 50))),
	}
}

func BenchmarkSign(b *testing.B) {
	key, s := testKey("alice-0"), Stamp{Purpose: UsePost, Time: time.Unix(1795402860, 0)}
	s.Signer = key
	d := benchDraft()
	n := len(d.Header)
	b.ReportAllocs()
	for b.Loop() {
		d.Header = d.Header[:n]
		if _, err := Sign(d, s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	d := benchDraft()
	if _, err := Sign(d, Stamp{Purpose: UsePost, Time: time.Unix(1795402860, 0), Signer: testKey("alice-0")}); err != nil {
		b.Fatal(err)
	}
	a, err := d.Build(article.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if p, err := Verify(a); err != nil || p.State != article.ProofHolds {
			b.Fatal(err)
		}
	}
}

// BenchmarkEd25519 is the floor under the two above.
func BenchmarkEd25519(b *testing.B) {
	key := testKey("alice-0")
	msg := message(Digest{})
	sig := ed25519.Sign(key, msg)
	b.Run("sign", func(b *testing.B) {
		for b.Loop() {
			ed25519.Sign(key, msg)
		}
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			ed25519.Verify(key.Public().(ed25519.PublicKey), msg, sig)
		}
	})
}
