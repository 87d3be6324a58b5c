package torrent

import _ "github.com/anacrolix/torrent"
