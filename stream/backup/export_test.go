package backup

// SaveSegments is Save with segments of another size.
var SaveSegments = save
