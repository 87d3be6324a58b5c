package search

import (
	"context"
	"errors"
	"fmt"

	"github.com/blevesearch/bleve/v2/index/scorch"
	"github.com/blevesearch/bleve/v2/index/scorch/mergeplan"
)

// Each segment has its own list of all words in it, so ten small ones take half as
// much again as one that holds the same. While articles come in, merging waits until
// there are ten of a size (storeConfig). Once none have come for linger, and an eighth
// of the index since the last time, the segments are merged: into one of up to tidyFloor
// articles, and one for each factor of ten above that.
const (
	tidyPart  = 8
	tidyFloor = 100 * batchSize
)

// tidyPlan is the plan for that.
func tidyPlan() *mergeplan.MergePlanOptions {
	plan := mergeplan.DefaultMergePlanOptions
	plan.MaxSegmentsPerTier, plan.SegmentsPerMergeTask, plan.FloorSegmentSize = 1, 100, tidyFloor
	return &plan
}

// tidyLater begins tidying if it pays. x.mu is held.
func (x *Index) tidyLater() {
	if n, err := x.Count(); err != nil || x.tidying != nil || x.untidy < max(batchSize, int(n)/tidyPart) {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	x.untidy, x.tidying = 0, cancel
	x.tasks.Go(func() {
		err := x.tidy(ctx)
		cancel()
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.tidying = nil; ctx.Err() == nil {
			x.fail = errors.Join(x.fail, err)
		}
	})
}

// tidy merges segments and returns when that is done.
func (x *Index) tidy(ctx context.Context) error {
	store, err := x.index.Advanced()
	if err != nil {
		return fmt.Errorf("tidy the search index: %w", err)
	}
	s, ok := store.(*scorch.Scorch)
	if !ok {
		return fmt.Errorf("tidy the search index: it is a %T", store)
	}
	if err := s.ForceMerge(ctx, tidyPlan()); err != nil {
		return fmt.Errorf("tidy the search index: %w", err)
	}
	return nil
}
