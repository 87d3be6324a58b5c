// Package torrent keeps large attachments of articles as torrents.
package torrent
