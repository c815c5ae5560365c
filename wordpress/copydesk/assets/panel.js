/**
 * Suggestions and history of one post, with undo. The same panel stands in the block editor's sidebar and below the
 * title in the classic editor; each passes how a changed field gets into its form.
 *
 * Plain script on WordPress's own packages: nothing to build.
 */
window.copydesk = ( function ( wp ) {
	const { createElement: el, Fragment, useCallback, useEffect, useRef, useState } = wp.element;
	const { Button, Notice, Spinner, TextareaControl } = wp.components;
	const { __, _n, sprintf } = wp.i18n;
	const base = '/copydesk/v1/';

	/** Terms are a list of names. */
	function text( value ) {
		return Array.isArray( value ) ? value.join( ', ' ) : value;
	}

	/** What an editor typed, in the shape of the field. */
	function typed( suggestion, draft ) {
		if ( ! suggestion.is_list ) {
			return draft;
		}
		return draft
			.split( ',' )
			.map( ( name ) => name.trim() )
			.filter( Boolean );
	}

	function when( ms ) {
		const formats = ( wp.date.getSettings || wp.date.__experimentalGetSettings )().formats;
		return wp.date.dateI18n( formats.datetimeAbbreviated || formats.datetime, new Date( ms ) );
	}

	/** Model, version of the prompt, time: where the words come from. */
	function Origin( { item, approved } ) {
		const parts = [
			item.model,
			item.prompt_version
				? /* translators: %d: version of the instructions for the AI model */
				  sprintf( __( 'prompt %d', 'copydesk' ), item.prompt_version )
				: '',
			when( item.at ),
			approved
				? /* translators: %s: name of a person */
				  sprintf( __( 'approved by %s', 'copydesk' ), approved )
				: '',
		];
		return el( 'p', { className: 'copydesk-origin' }, parts.filter( Boolean ).join( ' · ' ) );
	}

	function Words( { label, value, removed } ) {
		return el(
			'div',
			{ className: 'copydesk-words' + ( removed ? ' is-removed' : '' ) },
			el( 'span', { className: 'copydesk-words-label' }, label ),
			value.length
				? el( removed ? 'del' : 'span', { dir: 'auto' }, text( value ) )
				: el( 'em', null, __( 'nothing', 'copydesk' ) )
		);
	}

	function Suggestion( { item, busy, decide } ) {
		const [ draft, setDraft ] = useState( null );
		const heading = useRef();
		const stop = () => {
			setDraft( null );
			heading.current.focus();
		};
		const accept = () =>
			draft === null
				? decide( item, { action: 'accept' } )
				: decide( item, { action: 'accept', value: typed( item, draft ) } );
		return el(
			'li',
			{ className: 'copydesk-card', 'data-field': item.field },
			el( 'h3', { tabIndex: -1, ref: heading }, item.label ),
			draft === null
				? el( 'p', { className: 'copydesk-value', dir: 'auto' }, text( item.value ) )
				: el( TextareaControl, {
						label: item.is_list ? __( 'Separate with commas', 'copydesk' ) : item.label,
						hideLabelFromVision: ! item.is_list,
						value: draft,
						rows: 5,
						onChange: setDraft,
						__nextHasNoMarginBottom: true,
				  } ),
			item.current.length > 0 && ! item.is_list
				? el( Words, { label: __( 'In place of', 'copydesk' ), value: item.current, removed: true } )
				: null,
			item.reason === 'human_owned'
				? el(
						'p',
						{ className: 'copydesk-note' },
						__( 'A person wrote this field, so it changes only if you accept.', 'copydesk' )
				  )
				: null,
			el( Origin, { item } ),
			el(
				'div',
				{ className: 'copydesk-actions' },
				el(
					Button,
					{ variant: 'primary', onClick: accept, disabled: busy },
					draft === null ? __( 'Accept', 'copydesk' ) : __( 'Accept my version', 'copydesk' )
				),
				draft === null
					? el(
							Button,
							{ variant: 'secondary', onClick: () => setDraft( text( item.value ) ), disabled: busy },
							__( 'Edit', 'copydesk' )
					  )
					: el( Button, { variant: 'tertiary', onClick: stop }, __( 'Cancel', 'copydesk' ) ),
				draft === null
					? el(
							Button,
							{
								variant: 'tertiary',
								isDestructive: true,
								onClick: () => decide( item, { action: 'dismiss' } ),
								disabled: busy,
							},
							__( 'Dismiss', 'copydesk' )
					  )
					: null
			)
		);
	}

	function Written( { item, busy, undo } ) {
		return el(
			'li',
			{ className: 'copydesk-written', 'data-field': item.field },
			el(
				'details',
				null,
				el(
					'summary',
					null,
					el( 'strong', null, item.label ),
					' ',
					el(
						'span',
						{ className: 'copydesk-origin' },
						item.undone_by
							? /* translators: %s: name of a person */
							  sprintf( __( 'undone by %s', 'copydesk' ), item.undone_by )
							: when( item.at )
					)
				),
				el( Words, { label: __( 'Before', 'copydesk' ), value: item.before, removed: true } ),
				el( Words, { label: __( 'After', 'copydesk' ), value: item.after } ),
				el( Origin, { item, approved: item.approved_by } )
			),
			item.can_undo
				? el(
						Button,
						{
							variant: 'link',
							onClick: () => undo( item ),
							disabled: busy,
							/* translators: %s: name of a field */
							'aria-label': sprintf( __( 'Undo: %s', 'copydesk' ), item.label ),
						},
						__( 'Undo', 'copydesk' )
				  )
				: null
		);
	}

	function said( error ) {
		return error && error.message ? error.message : __( 'No answer from the site. Please try again.', 'copydesk' );
	}

	/** What the site knows about the post. Kept by the owner of the panel, whose title tells the number. */
	function useFeed( postId ) {
		const [ feed, setFeed ] = useState( null );
		const [ problem, setProblem ] = useState( '' );
		const load = useCallback( () => {
			if ( ! postId ) {
				return Promise.resolve();
			}
			const of = ( what ) => wp.apiFetch( { path: base + 'posts/' + postId + '/' + what } );
			return Promise.all( [ of( 'suggestions' ), of( 'history' ) ] ).then(
				( [ { suggestions }, { history } ] ) => {
					setFeed( { suggestions, history } );
				},
				( error ) => setProblem( said( error ) )
			);
		}, [ postId ] );
		useEffect( () => {
			load();
		}, [ load ] );
		return { feed, load, problem, setProblem, count: feed ? feed.suggestions.length : 0 };
	}

	/**
	 * @param {Object}   props
	 * @param {Object}   props.source   Of useFeed.
	 * @param {Function} props.onChange Gets {field: {value, terms}} of what the site now holds; may return a promise.
	 */
	function Panel( { source: { feed, load, problem, setProblem }, onChange } ) {
		const [ busy, setBusy ] = useState( false );
		const top = useRef();

		const send = ( path, data, done ) => {
			setBusy( true );
			setProblem( '' );
			return wp
				.apiFetch( { path: base + path, method: 'POST', data } )
				.then( ( answer ) => Promise.resolve( onChange( answer.fields || {} ) ).then( () => answer ) )
				.then( ( answer ) => {
					wp.a11y.speak( done( answer ) );
					return load();
				} )
				.catch( ( error ) => {
					setProblem( said( error ) );
					return load();
				} )
				.then( () => {
					setBusy( false );
					// The button that was pressed is gone.
					if ( top.current ) {
						top.current.focus();
					}
				} );
		};
		const decide = ( item, data ) =>
			send( 'suggestions/' + item.id, data, ( answer ) =>
				answer.status === 'accepted' ? __( 'Accepted.', 'copydesk' ) : __( 'Dismissed.', 'copydesk' )
			);
		const undo = ( item ) =>
			send( 'undo', { writes: [ item.id ] }, ( answer ) => {
				if ( answer.undone === 0 ) {
					throw new Error( __( 'This has been edited since, so it was left as it is.', 'copydesk' ) );
				}
				return __( 'Undone.', 'copydesk' );
			} );

		if ( ! feed ) {
			return problem ? el( Notice, { status: 'error', isDismissible: false }, problem ) : el( Spinner );
		}
		return el(
			Fragment,
			null,
			el( 'div', { tabIndex: -1, ref: top, className: 'copydesk-top' } ),
			problem
				? el( Notice, { status: 'error', onRemove: () => setProblem( '' ) }, problem )
				: null,
			feed.suggestions.length === 0
				? el( 'p', { className: 'copydesk-none' }, __( 'No suggestions are waiting.', 'copydesk' ) )
				: el(
						'ul',
						{ className: 'copydesk-cards', 'aria-label': __( 'Suggestions', 'copydesk' ) },
						feed.suggestions.map( ( item ) => el( Suggestion, { key: item.id, item, busy, decide } ) )
				  ),
			feed.history.length === 0
				? null
				: el(
						Fragment,
						null,
						el( 'h3', { className: 'copydesk-heading' }, __( 'Written by Copydesk', 'copydesk' ) ),
						el(
							'ul',
							{ className: 'copydesk-history' },
							feed.history.map( ( item ) => el( Written, { key: item.id, item, busy, undo } ) )
						)
				  )
		);
	}

	function title( count ) {
		return count
			? /* translators: %d: number of suggestions */
			  sprintf( _n( 'Copydesk: %d suggestion', 'Copydesk: %d suggestions', count, 'copydesk' ), count )
			: __( 'Copydesk', 'copydesk' );
	}

	return { Panel, title, useFeed };
} )( window.wp );
