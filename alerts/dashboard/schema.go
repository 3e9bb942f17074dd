package dashboard

// The part of Grafana's dashboard schema (version 39) that we use. Names and values
// are Grafana's; what is left out takes Grafana's default. All of it, and the options
// of each kind of panel, is in the types that Grafana 11.0 publishes, @grafana/schema,
// and those of 13.2 only add what has a default. One thing is in neither: an
// annotation's query (expr, step, titleFormat, textFormat, tagKeys) is read by
// Grafana's plugin for Prometheus.

// Dashboard is the document.
type Dashboard struct {
	UID           string      `json:"uid"`
	Title         string      `json:"title"`
	Description   string      `json:"description"`
	Tags          []string    `json:"tags"`
	SchemaVersion int         `json:"schemaVersion"`
	Editable      bool        `json:"editable"`
	Timezone      string      `json:"timezone"`
	GraphTooltip  int         `json:"graphTooltip"`
	Refresh       string      `json:"refresh"`
	Time          TimeRange   `json:"time"`
	Templating    Templating  `json:"templating"`
	Annotations   Annotations `json:"annotations"`
	Links         []Link      `json:"links"`
	Panels        []Panel     `json:"panels"`
}

// TimeRange is in Grafana's relative notation.
type TimeRange struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Templating holds the variables.
type Templating struct {
	List []Variable `json:"list"`
}

// Variable is one choice at the top of the dashboard. Query is a string for a data
// source, and a VariableQuery for labels.
type Variable struct {
	Name       string  `json:"name"`
	Label      string  `json:"label"`
	Type       string  `json:"type"`
	Datasource *Source `json:"datasource,omitempty"`
	Query      any     `json:"query"`
	Refresh    int     `json:"refresh"`
	Sort       int     `json:"sort,omitempty"`
	Multi      bool    `json:"multi"`
	IncludeAll bool    `json:"includeAll"`
	AllValue   string  `json:"allValue,omitempty"`
	Current    *Choice `json:"current,omitempty"`
}

// VariableQuery asks Prometheus for the values of a label.
type VariableQuery struct {
	Query   string `json:"query"`
	RefID   string `json:"refId"`
	QryType int    `json:"qryType"`
}

// Choice is what a variable starts with.
type Choice struct {
	Text  []string `json:"text"`
	Value []string `json:"value"`
}

// Annotations holds what is drawn over the panels.
type Annotations struct {
	List []Annotation `json:"list"`
}

// Annotation marks the times at which a query has a result.
type Annotation struct {
	Name        string `json:"name"`
	Datasource  Source `json:"datasource"`
	BuiltIn     int    `json:"builtIn,omitempty"`
	Enable      bool   `json:"enable"`
	Hide        bool   `json:"hide,omitempty"`
	IconColor   string `json:"iconColor"`
	Type        string `json:"type,omitempty"`
	Expr        string `json:"expr,omitempty"`
	Step        string `json:"step,omitempty"`
	TitleFormat string `json:"titleFormat,omitempty"`
	TextFormat  string `json:"textFormat,omitempty"`
	TagKeys     string `json:"tagKeys,omitempty"`
}

// Link leads from the dashboard or from a panel. All of its fields must be there.
type Link struct {
	Title       string   `json:"title"`
	Type        string   `json:"type"`
	Icon        string   `json:"icon"`
	Tooltip     string   `json:"tooltip"`
	URL         string   `json:"url"`
	Tags        []string `json:"tags"`
	AsDropdown  bool     `json:"asDropdown"`
	TargetBlank bool     `json:"targetBlank"`
	IncludeVars bool     `json:"includeVars"`
	KeepTime    bool     `json:"keepTime"`
}

func link(title, url string) Link {
	return Link{Title: title, Type: "link", Icon: "doc", URL: url, Tags: []string{}, TargetBlank: true}
}

// Source is where a query goes.
type Source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// Panel is a row's heading or a picture.
type Panel struct {
	ID          int      `json:"id"`
	Type        string   `json:"type"`
	Title       string   `json:"title"`
	Description string   `json:"description,omitempty"`
	Datasource  *Source  `json:"datasource,omitempty"`
	GridPos     GridPos  `json:"gridPos"`
	Collapsed   *bool    `json:"collapsed,omitempty"` // of a row's heading
	Panels      *[]Panel `json:"panels,omitempty"`    // of a row's heading: empty while it is open
	Interval    string   `json:"interval,omitempty"`
	Links       []Link   `json:"links,omitempty"`
	Targets     []Target `json:"targets,omitempty"`
	FieldConfig *Fields  `json:"fieldConfig,omitempty"`
	Options     any      `json:"options,omitempty"`
}

// GridPos is in cells; the grid is 24 wide.
type GridPos struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

// Target is a query. One of Instant and Range is set.
type Target struct {
	RefID        string `json:"refId"`
	Datasource   Source `json:"datasource"`
	Expr         string `json:"expr"`
	LegendFormat string `json:"legendFormat"`
	Format       string `json:"format,omitempty"`
	EditorMode   string `json:"editorMode"`
	Instant      bool   `json:"instant,omitempty"`
	Range        bool   `json:"range,omitempty"`
	Exemplar     bool   `json:"exemplar,omitempty"`
}

// Fields say how values are written and coloured.
type Fields struct {
	Defaults  Field      `json:"defaults"`
	Overrides []Override `json:"overrides"`
}

// Field is that of one value.
type Field struct {
	Unit       string     `json:"unit"`
	Decimals   *int       `json:"decimals,omitempty"`
	Min        *float64   `json:"min,omitempty"`
	Max        *float64   `json:"max,omitempty"`
	NoValue    string     `json:"noValue,omitempty"`
	Color      Color      `json:"color"`
	Thresholds Thresholds `json:"thresholds"`
	Mappings   []Mapping  `json:"mappings"`
	Custom     any        `json:"custom,omitempty"`
}

// Color says where a value's colour comes from.
type Color struct {
	Mode string `json:"mode"`
}

// Thresholds are in the unit of the field.
type Thresholds struct {
	Mode  string `json:"mode"`
	Steps []Step `json:"steps"`
}

// Step begins at Value; the first has none.
type Step struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"`
}

// Mapping gives words for values. Options is by value, or a Span.
type Mapping struct {
	Type    string `json:"type"`
	Options any    `json:"options"`
}

// Span is a range of values with one word. Without To it has no end.
type Span struct {
	From   *float64 `json:"from"`
	To     *float64 `json:"to"`
	Result Word     `json:"result"`
}

// Word stands for a value.
type Word struct {
	Text  string `json:"text"`
	Color string `json:"color"`
	Index int    `json:"index"`
}

// Override changes the fields of one query.
type Override struct {
	Matcher    Matcher    `json:"matcher"`
	Properties []Property `json:"properties"`
}

// Matcher names fields.
type Matcher struct {
	ID      string `json:"id"`
	Options string `json:"options"`
}

// Property is one setting of a field.
type Property struct {
	ID    string `json:"id"`
	Value any    `json:"value"`
}

// Values of Grafana's enumerations.
const (
	sharedCrosshair = 1 // graphTooltip
	onLoad          = 1 // refresh of a variable
	onTimeRange     = 2
	alphabetical    = 1 // sort of a variable

	green  = "green"
	blue   = "blue"
	orange = "orange"
	red    = "red"
)

var prometheus = Source{Type: "prometheus", UID: "${datasource}"}
