package content

import (
	"path"
	"strings"
)

// TypeByName returns the media type of a file with that name, "" where the name says
// nothing that is believed. It is the same on each box, whatever /etc/mime.types holds
// there, and knows nothing that can hold script.
func TypeByName(name string) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".jpg", ".jpeg":
		return "image/jpeg"
	case ".png":
		return "image/png"
	case ".gif":
		return "image/gif"
	case ".webp":
		return "image/webp"
	case ".avif":
		return "image/avif"
	case ".bmp":
		return "image/bmp"
	case ".mp3":
		return "audio/mpeg"
	case ".ogg", ".oga", ".opus":
		return "audio/ogg"
	case ".m4a":
		return "audio/mp4"
	case ".flac":
		return "audio/flac"
	case ".wav":
		return "audio/wav"
	case ".aac":
		return "audio/aac"
	case ".weba":
		return "audio/webm"
	case ".mp4", ".m4v":
		return "video/mp4"
	case ".webm":
		return "video/webm"
	case ".ogv":
		return "video/ogg"
	case ".mov":
		return "video/quicktime"
	case ".mkv":
		return "video/x-matroska"
	case ".pdf":
		return "application/pdf"
	case ".zip":
		return "application/zip"
	case ".epub":
		return "application/epub+zip"
	case ".txt":
		return "text/plain"
	case ".torrent":
		return "application/x-bittorrent"
	}
	return ""
}
