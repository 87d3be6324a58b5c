//go:build !linux || arm

package torrent

import "os"

func startWriteback(*os.File, int64, int64) {}
