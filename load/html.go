package load

import "io"

// HTML writes the report as one page that needs nothing else.
func (r Report) HTML(w io.Writer) error { _, err := io.WriteString(w, "todo"); return err }
