package local

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

func sample(n int) record {
	a := spooltest.Article(n, 300, "a.b", "c")
	r := record{Entry: spool.Entry{Seq: spool.Seq(n + 1), Arrived: time.Unix(1_700_000_000, 0).UTC(),
		Places: []spool.Place{{Group: "a.b", Number: uint64(n) + 1}, {Group: "c", Number: 1 << 40}}, Path: []string{"x", "y"},
		Via: spool.Via{How: spool.Relayed, Peer: "p"}, Overview: a.Overview()}, batch: 64, headLen: a.HeadLen(), wire: a.Wire()}
	if n%2 == 1 {
		r.expires = time.Unix(1_800_000_000, 0).UTC()
		r.Proof = article.Proof{State: article.ProofHolds, Purpose: "post", Identity: "abc", Key: [32]byte{1}, Time: -5, Q: 7, Digest: [32]byte{9},
			Right: []article.Group{"a.b"}, Approve: []article.Approval{{Identity: "m", Key: [32]byte{2}, Time: 3}}}
	}
	return r
}

func TestRecord(t *testing.T) {
	for n := range 4 {
		r := sample(n)
		b := appendRecord([]byte("before"), &r, 77)[6:]
		got, p, err := parseRecord(append(b, "after"...), 77)
		if err != nil || int(p.total) != len(b) || !reflect.DeepEqual(got, r) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, got, r)
		}
		if _, _, err := parseRecord(b, 78); !errors.Is(err, errBad) {
			t.Error("a record counts in another segment")
		}
		for i := range b { // every octet is covered by a checksum
			c := bytes.Clone(b)
			c[i] ^= 1
			if _, _, err := parseRecord(c, 77); err == nil {
				t.Errorf("octet %d of %d may change", i, len(b))
			}
			if _, _, err := parseRecord(b[:i], 77); err == nil {
				t.Errorf("may be cut at %d", i)
			}
		}
	}
}

// FuzzRecord: what parses is what encoding gives, octet by octet; nothing panics,
// and nothing passes with a wrong checksum.
func FuzzRecord(f *testing.F) {
	for n := range 2 {
		r := sample(n)
		f.Add(appendRecord(nil, &r, 5))
		f.Add(appendHead(nil, &r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, p, err := parseRecord(b, 5)
		if err == nil {
			if again := appendRecord(nil, &r, 5); !bytes.Equal(again, b[:p.total]) {
				t.Fatalf("% x\n% x", again, b[:p.total])
			}
		}
		// The head decoder meets octets whose sum is right by accident or malice.
		if r, err := decodeHead(b); err == nil {
			if again := appendHead(nil, &r); !bytes.Equal(again, b) {
				t.Fatalf("head\n% x\n% x", again, b)
			}
		}
		at, cross, id, bad := skim(b)
		if r, err := decodeRow(b); err == nil && (bad != nil || !r.arrived.Equal(fromUnix(at)) || cross != (len(r.places) > 1) || string(id) != string(r.over.ID)) {
			t.Fatalf("skim: %d %v %q %v of % x", at, cross, id, bad, b)
		}
		decodeSegHeader(b)
	})
}

func FuzzMeta(f *testing.F) {
	for _, m := range []metaRec{
		{n: 1, kind: metaPut, groups: []spool.GroupInfo{{Name: "g", Status: 'y', Keep: -4, High: 9}}},
		{n: 2, after: 9, kind: metaDrop, name: "g"}, {n: 3, kind: metaRemove, seq: 4, from: []article.Group{"a", "b"}, until: time.Unix(5, 0).UTC()},
		{n: 4, kind: metaRecall, id: "<a@b>", until: time.Unix(7, 0).UTC()}, {n: 5, kind: metaUnlinked, segs: []uint32{1, 2}},
	} {
		f.Add(appendMeta(nil, &m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, n, err := parseMeta(b)
		if err != nil {
			return
		}
		again, k, err := parseMeta(appendMeta(nil, &m))
		if err != nil || n <= 0 || k <= 0 || !reflect.DeepEqual(again, m) {
			t.Fatalf("%v\n%+v\n%+v", err, m, again)
		}
	})
}
