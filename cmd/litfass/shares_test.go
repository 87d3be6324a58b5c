package main

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/local"
)

// readSpool counts how often its log is read.
type readSpool struct {
	spool.Store
	reads int
}

func (r *readSpool) Since(ctx context.Context, after spool.Seq) iter.Seq2[spool.Entry, error] {
	r.reads++
	return r.Store.Since(ctx, after)
}

// TestSharesAtRest: a node at rest does not read its log for what peers hold; once old
// articles have gone, their days are forgotten.
func TestSharesAtRest(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1_800_000_000, 0)
	clock := func() time.Time { return now }
	s, err := local.Open(local.Config{Dir: t.TempDir(), Keep: 30 * time.Hour, SegmentSize: 1, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.PutGroups(ctx, spool.GroupInfo{Name: "mesh.talk", Status: 'y'}); err != nil {
		t.Fatal(err)
	}
	ledger, err := agent.OpenLedger(nil, clock)
	if err != nil {
		t.Fatal(err)
	}
	log := &readSpool{Store: s}
	w := &shares{core: &core{local: s, spool: log, usage: ledger, peers: new(peerBook)}}
	put := func(n int) {
		a, err := article.Parse(fmt.Appendf(nil, "Path: box!x\r\nFrom: a@a.example\r\nNewsgroups: mesh.talk\r\nSubject: s\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\nMessage-ID: <%d@x>\r\n\r\nb\r\n.\r\n", n), article.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		e, err := s.Add(ctx, a, spool.Arrival{Groups: []article.Group{"mesh.talk"}, At: now, Via: spool.Via{How: spool.Relayed, Peer: "box"}})
		if err != nil {
			t.Fatal(err)
		}
		ledger.Kept("box", e)
	}
	rounds := func(reads int, articles int64) {
		t.Helper()
		log.reads = 0
		for range 3 {
			if err := w.round(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if held := ledger.Held("box").Articles; log.reads != reads || held != articles {
			t.Errorf("the log was read %d times, want %d; the peer holds %d articles, want %d", log.reads, reads, held, articles)
		}
	}
	put(1)
	rounds(1, 1)
	now = now.Add(48 * time.Hour)
	put(2)
	rounds(0, 2)
	if x, err := s.Expire(ctx); err != nil || x.Segments == 0 {
		t.Fatalf("%+v %v", x, err)
	}
	rounds(1, 1)
}
