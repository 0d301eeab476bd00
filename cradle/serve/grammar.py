"""What SQL from outside may be made of: functions, parts of a tree. Whatever is not named here is refused.

Left out on purpose: all that reads files, settings, the environment or other queries, and what makes long texts
out of short ones (repeat, lpad, format) or compares them letter by letter (levenshtein).
"""

from __future__ import annotations

from typing import Final

AGGREGATES: Final = """
any_value approx_count_distinct approx_quantile arg_max arg_min array_agg avg bool_and bool_or corr count count_if
count_star covar_pop covar_samp entropy first geometric_mean geomean histogram kurtosis last list mad max max_by mean
median min min_by mode product quantile quantile_cont quantile_disc regr_avgx regr_avgy regr_count regr_intercept
regr_r2 regr_slope skewness stddev stddev_pop stddev_samp string_agg group_concat listagg sum var_pop var_samp variance
grouping grouping_id
"""
WINDOWS: Final = "cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number"
NUMBERS: Final = """
abs acos asin atan atan2 cbrt ceil ceiling cos cot degrees exp even floor gcd greatest isfinite isinf isnan lcm least
ln log log10 log2 mod pi pow power radians round sign sin sqrt tan trunc add subtract multiply divide
xor bit_count
"""
TEXTS: Final = """
ascii chr concat concat_ws contains ends_with starts_with prefix suffix instr strpos position left right length len
strlen char_length character_length lower upper lcase ucase ltrim rtrim trim regexp_extract regexp_extract_all
regexp_full_match regexp_matches regexp_replace regexp_split_to_array replace reverse split split_part str_split
string_split string_to_array strip_accents substr substring translate unicode nfc_normalize like_escape ilike_escape
not_like_escape not_ilike_escape md5 sha256 hash to_json json_extract json_extract_string json_array_length json_keys
json_valid json_type json_value
"""
TIMES: Final = """
age century current_date current_timestamp date_diff date_part date_sub date_trunc datediff datepart
datesub datetrunc day dayname dayofmonth dayofweek dayofyear decade epoch epoch_ms extract hour isodow isoyear
last_day make_date make_timestamp millisecond minute month monthname now quarter second strftime strptime time_bucket
to_days to_hours to_minutes to_months to_seconds to_weeks to_years to_timestamp today try_strptime week weekday
weekofyear year yearweek timezone date
"""
LISTS: Final = """
array_length array_extract array_slice array_value cardinality element_at flatten generate_series len list_aggregate
list_append list_apply list_avg list_concat list_contains list_count list_distinct list_element list_extract list_filter
list_has list_has_any list_has_all list_max list_min list_position list_reverse list_reverse_sort list_slice list_sort
list_sum list_transform list_unique list_value list_zip map map_entries map_extract map_from_entries map_keys
map_values range row array_aggregate array_append array_concat array_distinct array_filter
array_has array_position array_reverse_sort array_sort array_transform array_unique
struct_extract struct_pack unnest array_to_string array_contains
"""
OTHERS: Final = "coalesce ifnull nullif if typeof try constant_or_null cast try_cast"
OPERATORS: Final = """
+ - * / // % ** ^ ~ & | << >> || ~~ !~~ ~~* !~~* ~~~ !~~~ -> ->> @> <@ && ! @ <=>
"""
ALLOWED: Final = frozenset(" ".join((AGGREGATES, WINDOWS, NUMBERS, TEXTS, TIMES, LISTS, OTHERS, OPERATORS)).split())
# Functions that may stand where a table stands.
TABLES: Final = frozenset({"range", "generate_series", "unnest"})

# Parts of sqlglot's tree that are no calls of functions.
_PARTS: Final = """
Select Union Intersect Except Subquery CTE With From Join Where Group Having Qualify Order Ordered Limit Offset
Distinct Table TableAlias Column Identifier Literal Star Alias Paren Tuple Boolean Null Interval Var DataType
DataTypeParam Window WindowSpec Filter WithinGroup Lambda Bracket Slice Dot Unnest Lateral Values Array Struct
PropertyEQ Cube Rollup GroupingSets Exists In Between Like ILike SimilarTo Is Not And Or Xor EQ NEQ GT GTE LT LTE
NullSafeEQ NullSafeNEQ Add Sub Mul Div IntDiv Mod Pow Neg DPipe Escape Collate AtTimeZone Case If Cast TryCast
Extract Any All IgnoreNulls RespectNulls Comprehension Columns BitwiseAnd BitwiseOr BitwiseNot BitwiseXor
BitwiseLeftShift BitwiseRightShift CurrentDate CurrentTimestamp Count ToMap VarMap Map JSONExtract JSONExtractScalar
JSONPath JSONPathRoot JSONPathKey JSONPathSubscript JSONPathWildcard HavingMax ArrayOverlaps
"""
PARTS: Final = frozenset(_PARTS.split())

# The same for DuckDB's tree: classes of expressions, kinds of what stands after FROM.
_CLASSES: Final = """
BETWEEN CASE CAST COLLATE COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION LAMBDA LAMBDA_REF OPERATOR
POSITIONAL_REFERENCE STAR SUBQUERY WINDOW
"""
CLASSES: Final = frozenset(_CLASSES.split())
SOURCES: Final = frozenset({"BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY"})
