package spooltest

import (
	"testing"

	"github.com/litfass/litfass/spool"
)

func TestMem(t *testing.T) { Run(t, func() spool.Store { return NewMem() }) }
