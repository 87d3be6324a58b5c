package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/local"
)

// TestSweeper: what is older than keep goes with the first sweep, what is younger
// with a later one; the end of the node ends the sweeping.
func TestSweeper(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s, err := local.Open(local.Config{Dir: t.TempDir(), Keep: time.Hour, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := s.PutGroups(ctx, spool.GroupInfo{Name: "mesh.talk", Status: 'y'}); err != nil {
		t.Fatal(err)
	}
	for i, age := range []time.Duration{3 * time.Hour, 2 * time.Hour, time.Minute} {
		a, err := article.Parse(fmt.Appendf(nil, "Path: x!not-for-mail\r\nFrom: a@a.example\r\nNewsgroups: mesh.talk\r\nSubject: s\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\nMessage-ID: <%d@x>\r\n\r\nb\r\n.\r\n", i), article.Limits{})
		if err == nil {
			_, err = s.Add(ctx, a, spool.Arrival{Groups: []article.Group{"mesh.talk"}, At: now.Add(-age)})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var log, page bytes.Buffer
	pauses, tick := make(chan time.Duration), make(chan time.Time)
	w := &sweeper{spool: s, jitter: func() float64 { return 0.5 }, log: slog.New(slog.NewTextHandler(&log, nil)), after: func(d time.Duration) <-chan time.Time {
		select {
		case pauses <- d:
		case <-ctx.Done():
		}
		return tick
	}}
	done := make(chan struct{})
	go func() { defer close(done); w.run(ctx) }()
	for i, want := range []struct {
		pause time.Duration
		left  int64
	}{{firstSweep, 3}, {sweepEvery, 1}, {sweepEvery, 0}} {
		if got := <-pauses; got != want.pause {
			t.Errorf("pause %d: %v, want %v", i, got, want.pause)
		}
		if got := s.Stats().Articles; int64(got) != want.left {
			t.Errorf("round %d: %d articles, want %d", i, got, want.left)
		}
		if i == 2 {
			break
		}
		if i == 1 {
			now = now.Add(time.Hour)
		}
		tick <- now
	}
	cancel()
	<-done
	if w.metrics(&metricWriter{&page}); !strings.Contains(page.String(), "litfass_expire_articles_total 3\n") {
		t.Error(page.String())
	}
	if n := strings.Count(log.String(), "old articles dropped"); n != 2 {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
}

type failingExpirer struct{}

func (failingExpirer) Expire(context.Context) (local.Expired, error) {
	return local.Expired{}, errors.New("the disk is tired")
}

func TestSweepFails(t *testing.T) {
	var log bytes.Buffer
	w := &sweeper{spool: failingExpirer{}, log: slog.New(slog.NewTextHandler(&log, nil))}
	w.sweep(context.Background())
	if w.failed.Load() != 1 || !strings.Contains(log.String(), "tired") {
		t.Errorf("failed %d: %s", w.failed.Load(), log.String())
	}
}
